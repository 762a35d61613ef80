package blame

import (
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Sending is the bottlenecks behind which somebody sends.
type Sending map[plan.Bottleneck]bool

// Active finds them.
func Active(all []plan.Sender, uses []senders.Use) Sending {
	names := make(Sending, len(all)/perNode)
	last := ""
	for i := range all {
		if uses[i].Recent() < bitrate.Mbit || all[i].Node == last {
			continue
		}
		last = all[i].Node
		names[plan.Uplink(last)] = true
	}
	if last != "" {
		names[plan.Cluster] = true
	}
	return names
}
