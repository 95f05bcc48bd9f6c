/** When one relay is told where this tracker is. */
import type { EventDraft } from './event.ts'
import { TRACKER_EVENT_LIMITS, type TrackerNews, trackerEventDraft } from './tracker-event.ts'

export class OwnNews {
  readonly #news: () => TrackerNews | undefined
  #dueS: number
  #saidS: number | undefined
  #refusals = 0

  /** `news`: undefined while there is none to tell. `saidS`: when it was last told, Unix seconds, whatever became of it. */
  constructor(news: () => TrackerNews | undefined, saidS: number | undefined) {
    this.#news = news
    this.#saidS = saidS
    this.#dueS = saidS === undefined ? 0 : saidS + TRACKER_EVENT_LIMITS.everyS
  }

  get saidS(): number | undefined {
    return this.#saidS
  }

  /** What is to be said now, if anything; whoever takes it says it once. */
  due(nowS: number): EventDraft | undefined {
    // Said in what is now the future: the clock was set back.
    if (nowS < this.#dueS && nowS >= (this.#saidS ?? 0)) return undefined
    const news = this.#news()
    if (!news) return undefined
    this.#saidS = nowS
    this.#dueS = nowS + TRACKER_EVENT_LIMITS.everyS
    return trackerEventDraft(news, nowS)
  }

  /** Where it is not taken, it is offered ever more seldom. */
  said(isTaken: boolean): void {
    this.#refusals = isTaken ? 0 : this.#refusals + 1
    const pauseS = TRACKER_EVENT_LIMITS.everyS * 2 ** this.#refusals
    this.#dueS = (this.#saidS ?? 0) + Math.min(pauseS, TRACKER_EVENT_LIMITS.everySMax)
  }
}
