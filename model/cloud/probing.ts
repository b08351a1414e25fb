/**
 * Active health checks, as load balancers and DNS servers make them: rounds of probes at an interval, a verdict by rise and fall thresholds.
 *
 * - `tcp`: the handshake is enough. It proves that the machine's kernel answers, and nothing of the program behind it.
 * - `mqtt`: a CONNECT must get a CONNACK. The CONNECT is of MQTT 3.1.1, without a client id and without a clean session, which every server must answer by CONNACK 0x02 and by closing the
 *   connection [MQTT 3.1.1, MQTT-3.1.3-8]: so it needs no user, leaves no session behind, and reaches nothing behind the target, whose failure would make all targets look dead at once.
 *
 * One good probe is enough for what was never judged before; `unhealthyThreshold` failures in a row and `healthyThreshold` successes in a row turn a verdict.
 * Left out: passive checks (judging by the connections of clients), HTTP probes.
 */
import type { Address, Connection, ConnectionHandler, Host, RandomStream, Timer } from '../host.ts'

export type ProbeKind = 'tcp' | 'mqtt'

export interface ProbeSettings {
  readonly probeIntervalMs: number
  readonly probeTimeoutMs: number
  readonly unhealthyThreshold: number
  readonly healthyThreshold: number
}

export type Health = 'initial' | 'healthy' | 'unhealthy'

/** CONNECT of MQTT 3.1.1 with no flag set, keepalive 0, and an empty client id. */
const PROBE_CONNECT = Buffer.from('100c00044d5154540400000000' + '00', 'hex')
const CONNACK_TYPE = 2

/** What is known of one subject, and the probe that is on its way to it. */
export class HealthProbe implements ConnectionHandler {
  health: Health = 'initial'
  private readonly host: Host
  private readonly address: Address
  private readonly label: string
  private readonly kind: ProbeKind
  private readonly settings: ProbeSettings
  private readonly onTurn: (health: 'healthy' | 'unhealthy') => void
  private connection: Connection | undefined
  private onDone: (() => void) | undefined
  private successesInARow = 0
  private failuresInARow = 0

  /** @param onTurn told of each new verdict, after `health` has it */
  constructor(
    host: Host,
    subject: { readonly address: Address; readonly label: string; readonly kind: ProbeKind },
    settings: ProbeSettings,
    onTurn: (health: 'healthy' | 'unhealthy') => void,
  ) {
    this.host = host
    this.address = subject.address
    this.label = subject.label
    this.kind = subject.kind
    this.settings = settings
    this.onTurn = onTurn
  }

  /** @param onDone called once, when this probe has succeeded or failed */
  begin(onDone: () => void): void {
    this.onDone = onDone
    this.connection = this.host.connect(this.address, this, this.label)
  }

  /** A probe that is still on its way has failed. */
  giveUp(): void {
    if (this.connection !== undefined) this.end(false)
  }

  /** A probe that is still on its way counts for nothing. */
  abandon(): void {
    this.connection?.reset()
    this.connection = undefined
    this.onDone?.()
    this.onDone = undefined
  }

  /** As one that was never judged. */
  startOver(): void {
    this.abandon()
    this.health = 'initial'
    this.successesInARow = 0
    this.failuresInARow = 0
  }

  onOpen(connection: Connection): void {
    if (this.kind === 'tcp') this.end(true)
    else connection.write(PROBE_CONNECT)
  }

  onData(_connection: Connection, bytes: Buffer): void {
    this.end(bytes[0]! >> 4 === CONNACK_TYPE)
  }

  onClose(): void {
    this.connection = undefined
    this.end(false)
  }

  private end(success: boolean): void {
    // RST instead of FIN: the target's program need not close its side.
    this.connection?.reset()
    this.connection = undefined
    this.count(success)
    const { onDone } = this
    this.onDone = undefined
    onDone?.()
  }

  private count(success: boolean): void {
    const { healthyThreshold, unhealthyThreshold } = this.settings
    this.successesInARow = success ? this.successesInARow + 1 : 0
    this.failuresInARow = success ? 0 : this.failuresInARow + 1
    if (this.health !== 'healthy' && this.successesInARow >= (this.health === 'initial' ? 1 : healthyThreshold)) this.turn('healthy')
    else if (this.health !== 'unhealthy' && this.failuresInARow >= unhealthyThreshold) this.turn('unhealthy')
  }

  private turn(health: 'healthy' | 'unhealthy'): void {
    this.health = health
    this.onTurn(health)
  }
}

/** Probes all subjects every interval. One timer a round and one for its timeout serve them all. */
export class ProbeRounds {
  private readonly host: Host
  private readonly settings: ProbeSettings
  private readonly subjects: () => readonly HealthProbe[]
  /** Those of the round at hand. */
  private probed: readonly HealthProbe[] = []
  private open = 0
  private timeoutTimer: Timer | undefined

  /** @param subjects asked at the beginning of each round; none: the round is skipped */
  constructor(host: Host, random: RandomStream, settings: ProbeSettings, subjects: () => readonly HealthProbe[]) {
    this.host = host
    this.settings = settings
    this.subjects = subjects
    // Those who probe do not probe in step.
    host.setTimer(random.next() * settings.probeIntervalMs, () => this.start())
  }

  private start(): void {
    const { probeIntervalMs, probeTimeoutMs } = this.settings
    this.host.setTimer(probeIntervalMs, () => this.start())
    // A round that is still open here had a timeout longer than the interval; it ends now.
    this.end()
    this.probed = this.subjects()
    this.open = this.probed.length
    if (this.open === 0) return
    this.timeoutTimer = this.host.setTimer(probeTimeoutMs, () => this.end())
    for (const probe of this.probed) probe.begin(() => this.onProbeDone())
  }

  private onProbeDone(): void {
    this.open--
    if (this.open === 0) this.timeoutTimer?.cancel()
  }

  private end(): void {
    this.timeoutTimer?.cancel()
    for (const probe of this.probed) probe.giveUp()
    this.probed = []
  }
}
