/**
 * `no-crash`: no handler throws, and no process ends but by an injected fault or an orderly stop.
 *
 * Put to the test by every process that starts.
 * Left out: livelock at one instant, which the runner meets first: time does not go on.
 */
import type { Check } from './check.ts'
import { Findings } from './promise.ts'

export function checkNoCrash(): Check {
  const findings = new Findings('no-crash')
  return {
    findings,
    onProcessStarted() {
      findings.exercised++
    },
    onProcessEnded(machine, cause, error, timeUs) {
      if (cause !== 'threw') return
      const lines = (error ?? 'no error was given').split('\n')
      // Numbers differ from run to run; the signature must not.
      findings.violated(timeUs, lines[0]!.replace(/\d+/g, '#'), () => ({
        text: `The process on ${machine} ended because a handler threw: ${lines[0]}.`,
        evidence: [{ timeUs, text: lines.slice(0, 6).join('\n') }],
      }))
    },
  }
}
