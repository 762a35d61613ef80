package blame

import (
	"slices"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// corroborated is all verdicts as far as they are believed.
func corroborated(all []sense.Verdict, sending Sending) []sense.Verdict {
	copied := false
	for i := range all {
		v := believed(&all[i], sending)
		if v == &all[i] {
			continue
		}
		if !copied {
			all, copied = slices.Clone(all), true
		}
		all[i] = *v
	}
	return all
}

// believed leaves out the one path of three and more that says something else than all
// others, unless its own node sends: its host or clock may be wrong.
func believed(v *sense.Verdict, sending Sending) *sense.Verdict {
	if v.Others == nil || v.Worst.Session == nil || sending[plan.Uplink(v.Worst.Session.Vantage)] {
		return v
	}
	return v.Others
}
