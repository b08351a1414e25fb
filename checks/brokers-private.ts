/**
 * `brokers-private`: no client reaches a broker, nor any other machine that is the service's own affair: whoever dials one from outside is refused, or cut off at once, and hears not a byte;
 * whoever sends a datagram gets none back.
 *
 * Judged at the sockets of those who try (machines of the role `intruder`, whose connections carry the name of whom they dial), and by what they tell of their datagrams, each of which a machine
 * that listens to strangers would answer. An answer of a single byte is a violation, and so is a connection that stays open for longer than the way there and back takes; a handshake that is
 * followed by RST is none, since a kernel answers before anybody has looked at who it is.
 * Put to the test by each attempt at a machine that nothing disturbs, since who is dead is not reached anyway; and only when each of those who try has made one: who could not, shows nothing.
 * Left out: datagrams that take effect and are not answered.
 */
import type { SocketObserver } from '../model/world.ts'
import type { Check, Shared } from './check.ts'
import { Findings, seconds } from './promise.ts'

export interface BrokersPrivate extends Check {
  /** Of the machines of those who try. */
  readonly intruders: SocketObserver
  readonly strangers: StrangersView
}

/** What those who try tell of their datagrams. */
export interface StrangersView {
  sent(by: string, target: string, timeUs: number): void
  answered(by: string, target: string, bytes: number, timeUs: number): void
}

interface Attempt {
  readonly by: string
  readonly target: string
  readonly startedAtUs: number
  openedAtUs: number | undefined
  isTold: boolean
}

/** The way to another zone or over the internet and back, with what the slowest packets take. */
const CUT_OFF_WITHIN_US = 400_000
/** So long after a fault nobody is blamed for being slow. */
const EXCUSED_US = 2_000_000

export function checkBrokersPrivate({ disturbance }: Shared): BrokersPrivate {
  const findings = new Findings('brokers-private')
  const attempts = new Map<number, Attempt>()
  /** Attempts of each of those who try, at machines that nothing disturbed. */
  const fairAttempts = new Map(disturbance.withRole('intruder').map(({ name }) => [name, 0]))

  const noteFair = (by: string, targetName: string) => {
    const target = disturbance.machine(targetName)
    if (target !== undefined && !disturbance.isDisturbed(target)) fairAttempts.set(by, (fairAttempts.get(by) ?? 0) + 1)
  }

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
    if (target === undefined || disturbance.isDisturbed(target) || timeUs - disturbance.calmSinceUs(target.name) <= EXCUSED_US) return
    reached(attempt, timeUs, `the connection was open for ${seconds(timeUs - attempt.openedAtUs)}`)
  }

  return {
    findings,
    intruders: {
      onConnect(connectionId, machine, label, timeUs) {
        attempts.set(connectionId, { by: machine, target: label, startedAtUs: timeUs, openedAtUs: undefined, isTold: false })
        noteFair(machine, label)
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
    strangers: {
      sent: noteFair,
      answered(by, target, bytes, timeUs) {
        const role = disturbance.machine(target)?.role ?? 'machine'
        findings.violated(timeUs, `a ${role} answers a stranger's datagram`, () => ({
          text: `${target} answered a datagram that ${by} sent from ${disturbance.machine(by)?.zone ?? 'outside'}.`,
          evidence: [{ timeUs, text: `a datagram of ${bytes} bytes came from ${target}` }],
        }))
      },
    },
    onSweep(nowUs) {
      for (const attempt of attempts.values()) judgeAge(attempt, nowUs)
    },
    finish() {
      const counts = [...fairAttempts.values()]
      if (counts.every((count) => count > 0)) for (const count of counts) findings.exercised += count
    },
  }
}
