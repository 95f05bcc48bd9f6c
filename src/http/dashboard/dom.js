/** Making elements without ever parsing HTML: text stays text, whoever it comes from. */

/**
 * The element with this id, which index.html has, of whatever kind it is there.
 * @returns {any}
 */
export function byId(id) {
  return document.getElementById(id)
}

/**
 * All elements that match.
 * @returns {any[]}
 */
export function all(selector) {
  return [...document.querySelectorAll(selector)]
}

/** `attributes`: as in HTML; a function is a listener (`onclick`); undefined and false are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value)
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value)
  }
  element.append(...children.filter((child) => child !== undefined))
  return element
}

/** Changes the text only where it differs, so that screen readers hear no repetition. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export function setHidden(element, isHidden) {
  element.hidden = isHidden
}

/** A share of 0 to 1 as a bar; undefined where it is not known. */
export function bar(share, tone) {
  if (share === undefined) return make('span', { class: 'bar unknown', 'aria-hidden': 'true' })
  const fill = make('span')
  fill.style.width = `${Math.round(Math.max(0, Math.min(1, share)) * 100)}%`
  return make('span', { class: 'bar', 'data-tone': tone, 'aria-hidden': 'true' }, fill)
}

/** Copies `text` and says so on the button and to screen readers. */
export async function copy(text, button) {
  const label = button.textContent
  let said = 'Copied'
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    said = 'Press Ctrl+C'
    getSelection().selectAllChildren(button.parentElement.querySelector('code'))
  }
  button.textContent = said
  setText(byId('said'), said)
  setTimeout(() => {
    button.textContent = label
    setText(byId('said'), '')
  }, 1600)
}

/** An empty place that says why it is empty. */
export function showEmpty(place, title, text) {
  place.replaceChildren(make('strong', {}, title), make('span', {}, text))
  place.hidden = false
}
