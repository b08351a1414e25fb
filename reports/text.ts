/** Text for a terminal: colour that can be left out, columns that line up, paragraphs that fit. */
import { styleText } from 'node:util'

export type Paint = (style: Parameters<typeof styleText>[0], text: string) => string

/** `styleText` without its own look at the environment: whether to use colour is for the command line to decide. */
export function painter(colour: boolean): Paint {
  return colour ? (style, text) => styleText(style, text, { validateStream: false }) : (_, text) => text
}

/** Breaks a text into lines of at most `width` characters, at spaces. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  if (line !== '') lines.push(line)
  return lines
}

export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** A time in milliseconds as people read it. */
export function duration(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`
  return `${(ms / 1000).toFixed(ms < 100_000 ? 2 : 0)} s`
}
