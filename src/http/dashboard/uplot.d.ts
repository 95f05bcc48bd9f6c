/** The browser gets uPlot beside the page's own modules; see pages.ts. */
export { default } from 'uplot'
