/**
 * `brokers-private`: no client reaches a broker, nor any other machine that is the service's own affair: whoever dials one from outside is refused, or cut off at once, and hears not a byte.
 *
 * Judged at the sockets of those who try (machines of the role `intruder`, whose connections carry the name of whom they dial). An answer of a single byte is a violation, and so is a
 * connection that stays open for more than a second; a handshake that is followed by RST is none, since a kernel answers before anybody has looked at who it is.
 * Put to the test by each attempt at a machine that nothing disturbs: who is dead is not reached anyway.
 * Left out: datagrams.
 */
import type { SocketObserver } from '../model/world.ts'
import type { Check, Shared } from './check.ts'
import { Findings, seconds } from './promise.ts'

export interface BrokersPrivate extends Check {
  /** Of the machines of those who try. */
  readonly intruders: SocketObserver
}

interface Attempt {
  readonly by: string
  readonly target: string
  readonly startedAtUs: number
  openedAtUs: number | undefined
  isTold: boolean
}

const CUT_OFF_WITHIN_US = 1_000_000

export function checkBrokersPrivate({ disturbance }: Shared): BrokersPrivate {
  const findings = new Findings('brokers-private')
  const attempts = new Map<number, Attempt>()

  const reached = (attempt: Attempt, timeUs: number, how: string) => {
    if (attempt.isTold) return
    attempt.isTold = true
    const { by, target, startedAtUs } = attempt
    const role = disturbance.machine(target)?.role ?? 'machine'
    findings.violated(timeUs, `a stranger reaches a ${role}`, () => ({
      text: `${by} reached ${target} from ${disturbance.machine(by)?.zone ?? 'outside'}: ${how}.`,
      evidence: [
        { timeUs: startedAtUs, text: `${by} dialled ${target}` },
        ...(attempt.openedAtUs === undefined ? [] : [{ timeUs: attempt.openedAtUs, text: 'the connection was open' }]),
        { timeUs, text: how },
      ],
    }))
  }

  const judgeAge = (attempt: Attempt, timeUs: number) => {
    if (attempt.openedAtUs === undefined || timeUs - attempt.openedAtUs <= CUT_OFF_WITHIN_US) return
    const target = disturbance.machine(attempt.target)
    // A machine that is paused or cut off cannot turn anybody away.
    if (target === undefined || disturbance.isDisturbed(target) || timeUs - disturbance.calmSinceUs(target.name) <= CUT_OFF_WITHIN_US * 2)
      return
    reached(attempt, timeUs, `the connection was open for ${seconds(timeUs - attempt.openedAtUs)}`)
  }

  return {
    findings,
    intruders: {
      onConnect(connectionId, machine, label, timeUs) {
        attempts.set(connectionId, { by: machine, target: label, startedAtUs: timeUs, openedAtUs: undefined, isTold: false })
        const target = disturbance.machine(label)
        if (target !== undefined && !disturbance.isDisturbed(target)) findings.exercised++
      },
      onOpen(connectionId, timeUs) {
        const attempt = attempts.get(connectionId)
        if (attempt !== undefined) attempt.openedAtUs = timeUs
      },
      onSent() {},
      onReceived(connectionId, bytes, timeUs) {
        const attempt = attempts.get(connectionId)
        if (attempt !== undefined) reached(attempt, timeUs, `it was answered with ${bytes.length} bytes`)
      },
      onClosed(connectionId, _reason, _by, timeUs) {
        const attempt = attempts.get(connectionId)
        attempts.delete(connectionId)
        if (attempt !== undefined) judgeAge(attempt, timeUs)
      },
    },
    onSweep(nowUs) {
      for (const attempt of attempts.values()) judgeAge(attempt, nowUs)
    },
  }
}
