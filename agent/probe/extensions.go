package probe

import "github.com/detnet/detnet/agent/probe/stamp"

// Extensions are the TLVs that the STAMP packets of a Sender carry (RFC 8972).
type Extensions struct {
	// ClassOfService asks with which DSCP and ECN packets arrive, and for
	// ReplyDSCP, 0…63, on the answers (§4.4).
	ClassOfService bool
	ReplyDSCP      uint8
	// DirectMeasurement has the reflector tell how many packets it got and
	// returned, which is the direction of each loss (§4.5).
	DirectMeasurement bool
}

func (e Extensions) any() bool { return e.ClassOfService || e.DirectMeasurement }

// append adds the extensions of packet seq to the packet that begins b.
func (e Extensions) append(b []byte, seq uint32, key *stamp.Key) []byte {
	base := len(b)
	if e.ClassOfService {
		b = stamp.AppendTLV(b, stamp.ClassOfService, stamp.AppendCoS(nil, stamp.CoS{Wanted: e.ReplyDSCP}))
	}
	if e.DirectMeasurement {
		b = stamp.AppendTLV(b, stamp.DirectMeasurement, stamp.AppendDirect(nil, stamp.Direct{SenderTx: seq + 1}))
	}
	if key != nil && e.any() {
		b = stamp.AppendHMAC(b, 0, base, key)
	}
	return b
}

// Heard is what the newest answer with extensions says. What a reflector does
// not know it does not say.
type Heard struct {
	HasCoS              bool
	CoS                 stamp.CoS
	ReplyDSCP, ReplyECN uint8 // with which the answer came here

	HasDirect bool
	Direct    stamp.Direct
	Answers   uint64 // that had come here with it, duplicates and late ones included
}

// LostForward and LostBackward are how many packets had been lost in each
// direction when the newest answer passed.
func (h Heard) LostForward() uint32 { return positive(h.Direct.SenderTx - h.Direct.ReflectorRx) }

// LostBackward is LostForward for the way back.
func (h Heard) LostBackward() uint32 { return positive(h.Direct.ReflectorTx - uint32(h.Answers)) }

// positive is a difference of counters modulo 2^32, or 0 where packets that
// overtook each other make it negative.
func positive(difference uint32) uint32 { return uint32(max(int32(difference), 0)) }

// hear reads the extensions of an answer.
func hear(rest []byte) (h Heard) {
	for tlv := range stamp.TLVs(rest) {
		if tlv.Flags != 0 {
			continue // not recognised, or refused
		}
		switch tlv.Type {
		case stamp.ClassOfService:
			h.CoS, h.HasCoS = stamp.ParseCoS(tlv.Value)
		case stamp.DirectMeasurement:
			h.Direct, h.HasDirect = stamp.ParseDirect(tlv.Value)
		}
	}
	return h
}

// heard keeps what an answer says unless a newer one said it before.
func (s *session) heard(h Heard, tos uint8) {
	if h.HasDirect && s.told.HasDirect && int32(h.Direct.ReflectorTx-s.told.Direct.ReflectorTx) < 0 {
		return
	}
	h.ReplyDSCP, h.ReplyECN = tos>>2, tos&3
	h.Answers = s.totals.Received + s.totals.Duplicated + s.totals.Late
	s.told = h
}
