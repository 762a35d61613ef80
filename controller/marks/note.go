package marks

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// note is what is remembered of what is to outlive the leader.
type note struct {
	stands bitrate.Rate // found to fit, and since when it is about that
	since  time.Time
	noted  workload.Found // asked for as annotation
}

// A figure is noted once it has stood for a while and is another one, and again before it
// is too old; no node more often than this, and no more nodes in a round.
const (
	noteWorth = 0.05
	noteAfter = time.Minute
	noteEvery = 10 * time.Minute
	noteAgain = workload.FoundFor / 2
	noteMost  = 4
)

// take learns from what was decided. Only what the law settled on counts, while the
// uplink is full and all is well.
func (n *note) take(c Config, r status.Reason, now time.Time) {
	if !c.Remember {
		*n = note{}
		return
	}
	if full, steady := congestion(r); !full || !steady || r.Phase != plan.Settled {
		return
	}
	if differs(r.ToBps, n.stands) {
		n.stands, n.since = r.ToBps, now
	}
	age, said := now.Sub(n.noted.At), n.noted.Fresh(now) // 0: nobody begins from it, so it may go at once
	if now.Sub(n.since) >= noteAfter && (said == 0 || age >= noteEvery && (differs(n.stands, said) || age >= noteAgain)) {
		n.noted = workload.Found{Rate: n.stands.Quantise(), At: now.UTC().Truncate(time.Second)}
	}
}

func differs(a, b bitrate.Rate) bool { return float64(max(a-b, b-a)) > noteWorth*float64(b) }

// remember writes the annotation; the zero Found takes it away.
func remember(ctx context.Context, to *write.Writer, node *corev1.Node, f workload.Found) error {
	return to.Do(ctx, write.Change{Target: target(node), Annotations: map[string]string{workload.AnnotationUplinkFound: f.String()}})
}
