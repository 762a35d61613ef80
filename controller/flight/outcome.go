package flight

import (
	"reflect"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// outcome is a plan as it is kept: most of a reason is what it was a step ago, but for
// its figures.
type outcome struct {
	plan    plan.Plan // without reasons
	reasons []figures
}

type figures struct {
	*plan.Reason // the rest of it; not changed
	measured     time.Duration
	ratio        float64
	samples      int
	usage        bitrate.Rate
}

// outcome keeps p, and says how many octets that takes.
func (t *track) outcome(r *Recorder, p plan.Plan) (kept outcome, octets int) {
	if t.reasons == nil {
		t.reasons = map[plan.Bottleneck]*plan.Reason{}
	}
	reasons := p.Reasons
	p.Reasons = nil
	kept.plan, octets = keep(r, p)
	if len(reasons) > 0 {
		kept.reasons = make([]figures, len(reasons))
	}
	for i := range reasons {
		f := figures{nil, reasons[i].Measured, reasons[i].Ratio, reasons[i].Samples, reasons[i].Usage}
		bare := reasons[i]
		bare.Measured, bare.Ratio, bare.Samples, bare.Usage = 0, 0, 0, 0
		bare.Since = r.wall(bare.Since)
		if f.Reason = t.reasons[bare.Bottleneck]; f.Reason == nil || *f.Reason != bare {
			same, n := keep(r, bare)
			f.Reason, octets = &same, octets+n
			t.reasons[bare.Bottleneck] = f.Reason
		}
		kept.reasons[i] = f
	}
	return kept, octets + len(kept.reasons)*int(reflect.TypeFor[figures]().Size())
}

// all are the reasons as they were.
func (o *outcome) all() []plan.Reason {
	var reasons []plan.Reason
	for _, f := range o.reasons {
		r := *f.Reason
		r.Measured, r.Ratio, r.Samples, r.Usage = f.measured, f.ratio, f.samples, f.usage
		reasons = append(reasons, r)
	}
	return reasons
}
