package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/status"
)

// bandTurn is how much the bands below may send before a packet of fq's first band
// has its turn: the third one's default weight (sch_fq: TCA_FQ_WEIGHTS), in octets.
const bandTurn = 64 << 10

// uplinkQueues is what the agents of role node say of their nodes' uplinks, and what
// that means where Cilium enforces; nothing where it does not or nobody says anything.
func uplinkQueues(s *status.Status, c cilium) []Finding {
	if !c.on("enable-bandwidth-manager") {
		return nil
	}
	f := Finding{Check: "uplinks pace what limits hold back"}
	var unpaced []string
	paced := map[string][]string{} // what is to be said of them
	said := false
	for _, a := range s.Agents {
		for _, u := range a.Uplinks {
			said = true
			name := fmt.Sprintf("%s (%s)", a.Node, u.Interface)
			if u.Queue != "fq" && u.Queue != "mq/fq" {
				unpaced = append(unpaced, fmt.Sprintf("%s on %s has %s", u.Interface, a.Node, queueName(u.Queue)))
				continue
			}
			paced[worth(u.SpeedBps)] = append(paced[worth(u.SpeedBps)], name)
		}
	}
	if !said {
		return nil
	}
	if len(unpaced) > 0 {
		f.Problem = "Cilium's limits drop instead of spacing out where the uplink's queue is not fq: " + few(unpaced)
		f.Advice = "see whether the kernel has sch_fq (modprobe sch_fq), and who else sets a queue there: Cilium sets fq as its agent starts"
		return []Finding{f}
	}
	for meaning, names := range paced {
		f.Notes = append(f.Notes, fmt.Sprintf("%s: %s", meaning, few(names)))
	}
	slices.Sort(f.Notes)
	for _, p := range s.Senders {
		if p.OverLimit != "" {
			f.Notes = append(f.Notes, fmt.Sprintf("little of what %s sends may get through: %s", p.Pod, p.OverLimit))
		}
	}
	return []Finding{f}
}

// worth is what priority is worth on a link of fq's bands.
func worth(speed bitrate.Rate) string {
	if speed == 0 {
		return "fq, on a link whose driver says no speed; a guaranteed packet may wait for 64 KiB of others"
	}
	wait := time.Duration(bandTurn * 8 * float64(time.Second) / float64(speed))
	return fmt.Sprintf("fq at %v, where a guaranteed packet may wait %v for others; targets below that cannot be kept by priority alone", speed, wait.Round(10*time.Microsecond))
}

func queueName(kind string) string {
	if kind == "" {
		return "no queue that is known"
	}
	return kind
}

// few joins names, of many the first ones.
func few(names []string) string {
	const most = 5
	slices.Sort(names)
	if more := len(names) - most; more > 0 {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
