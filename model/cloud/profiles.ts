/**
 * How load balancers of clouds are set up by default, as overlays of our settings. `default` is the region's own choice: fast probes and a slow start.
 *
 * Sources: terraform-provider-tencentcloud, `clb_listener` (health check of a TCP listener); Tencent Cloud API, CLB `CreateListener` (IdleConnectTimeout); AWS Elastic Load Balancing, "Health checks for Network Load Balancer target groups" and "Cross-zone
 * load balancing for target groups"; "Network Load Balancers" (idle timeout). Slow start is an attribute of Application Load Balancers only; of Tencent's none is documented for layer 4. Left out: the passive checks that both make.
 */
import type { ServiceSettings } from '../settings.ts'

/** In the order in which they are listed. */
export const loadBalancerProfileNames = ['default', 'tencent-clb', 'aws-nlb'] as const

export type LoadBalancerProfileName = (typeof loadBalancerProfileNames)[number]

export const loadBalancerProfiles: Readonly<Record<LoadBalancerProfileName, Partial<ServiceSettings['loadBalancer']>>> = {
  default: {},
  'tencent-clb': {
    probeIntervalMs: 5000,
    probeTimeoutMs: 2000,
    unhealthyThreshold: 3,
    healthyThreshold: 3,
    slowStartMs: 0,
    idleTimeoutMs: 900_000,
  },
  'aws-nlb': {
    probeIntervalMs: 30_000,
    probeTimeoutMs: 10_000,
    unhealthyThreshold: 3,
    healthyThreshold: 3,
    slowStartMs: 0,
    drainMs: 300_000,
    idleTimeoutMs: 350_000,
    crossZone: false,
  },
}
