/** The browser gets uPlot beside the page's own modules; see server.ts. */
export { default } from 'uplot'
