package report

import (
	"fmt"
	"strings"
)

// cos is what was learned by the class of service extension (RFC 8972 §4.4).
type cos struct {
	Sent        uint8 `json:"sent_dscp"`
	Arrived     uint8 `json:"arrived_dscp"` // at the reflector
	ArrivedECN  uint8 `json:"arrived_ecn"`
	ReplyWanted uint8 `json:"reply_dscp_wanted"`
	Refused     bool  `json:"reply_dscp_refused"`
	Reply       uint8 `json:"reply_dscp"` // as the answers came here
	ReplyECN    uint8 `json:"reply_ecn"`
}

// cos returns nil where the reflector said nothing of it.
func (r Report) cos() *cos {
	h := r.Heard
	if !h.HasCoS {
		return nil
	}
	return &cos{r.Session.DSCP, h.CoS.Seen, h.CoS.ECN, r.Extensions.ReplyDSCP, h.CoS.Rejected, h.ReplyDSCP, h.ReplyECN}
}

// direct is what was learned by direct measurement (RFC 8972 §4.5). The counts
// are those of the newest answer.
type direct struct {
	Sent         uint32 `json:"sent"`
	Received     uint32 `json:"reflector_received"`
	Reflected    uint32 `json:"reflector_sent"`
	Answers      uint64 `json:"answers"`
	LostForward  uint32 `json:"lost_forward"`
	LostBackward uint32 `json:"lost_backward"`
	Restarts     int    `json:"reflector_restarts"`
}

// direct returns nil where the reflector said nothing of it.
func (r Report) direct() *direct {
	h := r.Heard
	if !h.HasDirect {
		return nil
	}
	d := h.Direct
	return &direct{d.SenderTx, d.ReflectorRx, d.ReflectorTx, h.Answers, h.LostForward(), h.LostBackward(), h.Restarts}
}

// extensions writes what was learned by them for people.
func (r Report) extensions(b *strings.Builder) {
	if c := r.cos(); c != nil {
		fmt.Fprintf(b, "packets left with DSCP %d and arrived with DSCP %d, ECN %d; answers were to have DSCP %d and came with DSCP %d, ECN %d",
			c.Sent, c.Arrived, c.ArrivedECN, c.ReplyWanted, c.Reply, c.ReplyECN)
		if c.Refused {
			b.WriteString(": the reflector refused")
		}
		b.WriteByte('\n')
	} else if r.Extensions.ClassOfService {
		b.WriteString("the reflector says nothing of the class of service\n")
	}
	if d := r.direct(); d != nil {
		fmt.Fprintf(b, "lost on the way there %d, on the way back %d: of %d sent the reflector received %d, of %d it sent %d came back\n",
			d.LostForward, d.LostBackward, d.Sent, d.Received, d.Reflected, d.Answers)
		if d.Restarts > 0 {
			fmt.Fprintf(b, "the reflector began to count anew %d times; what was lost meanwhile is in neither direction\n", d.Restarts)
		}
	} else if r.Extensions.DirectMeasurement {
		b.WriteString("the reflector counts no packets: in which direction they are lost is unknown\n")
	}
	if r.Heard.Malformed {
		b.WriteString("the reflector found the extensions malformed\n")
	}
	if r.Heard.Corrupt {
		b.WriteString("the extensions are not authentic, for the reflector or here; the packets themselves are\n")
	}
}
