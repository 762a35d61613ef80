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

// append adds the extensions of the transmitted-th packet to what begins b.
func (e Extensions) append(b []byte, transmitted uint32, key *stamp.Key) []byte {
	base := len(b)
	if e.ClassOfService {
		b = stamp.AppendTLV(b, stamp.ClassOfService, stamp.AppendCoS(nil, stamp.CoS{Wanted: e.ReplyDSCP}))
	}
	if e.DirectMeasurement {
		b = stamp.AppendTLV(b, stamp.DirectMeasurement, stamp.AppendDirect(nil, stamp.Direct{SenderTx: transmitted}))
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
	Answers   uint64 // that had come here with it, each of the reflector's numbers once
	// Restarts is how often the reflector began to count anew. What was lost
	// before is in LostForward and LostBackward; what was lost meanwhile is not.
	Restarts int
	from     tally // where the reflector's present count began
	before   lost  // until then

	// What the reflector did not accept: extensions that it found malformed, or
	// not authentic.
	Malformed, Corrupt bool
}

type tally struct {
	stamp.Direct
	answers uint64
}

type lost struct{ forward, backward uint32 }

// LostForward and LostBackward are how many packets had been lost in each
// direction when the newest answer passed.
func (h Heard) LostForward() uint32 {
	return h.before.forward + positive((h.Direct.SenderTx-h.from.SenderTx)-(h.Direct.ReflectorRx-h.from.ReflectorRx))
}

// LostBackward is LostForward for the way back.
func (h Heard) LostBackward() uint32 {
	return h.before.backward + positive((h.Direct.ReflectorTx-h.from.ReflectorTx)-uint32(h.Answers-h.from.answers))
}

// positive is a difference of counters modulo 2^32, or 0 where packets that
// overtook each other make it negative.
func positive(difference uint32) uint32 { return uint32(max(int32(difference), 0)) }

// hear reads the extensions of an answer: rest of packet. With keys they must be
// authentic; the answer itself is so already.
func hear(packet, rest []byte, keys []*stamp.Key) (h Heard) {
	recognised := false
	for tlv := range stamp.TLVs(rest) {
		h.Malformed = h.Malformed || tlv.Flags&stamp.Malformed != 0
		h.Corrupt = h.Corrupt || tlv.Flags&stamp.Corrupt != 0
		recognised = recognised || tlv.Flags == 0
	}
	if h.Corrupt || !recognised || h.Malformed && len(keys) > 0 {
		return h // nothing is said, or nothing that can be verified
	}
	if !stamp.Intact(packet, rest, keys) {
		return Heard{Corrupt: true}
	}
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

// overtaken is by how much a count of the reflector may fall because packets
// overtook each other; more is a new count.
const overtaken = 3

// heard keeps what an answer says unless a newer one said it before. unique says
// that the answer is no copy of another one.
func (s *session) heard(h Heard, tos uint8, unique bool) {
	old := s.told
	if !h.HasDirect {
		h.Direct, h.from, h.before, h.Restarts = old.Direct, old.from, old.before, old.Restarts
		h.Answers, h.ReplyDSCP, h.ReplyECN = old.Answers, tos>>2, tos&3
		s.told = h
		return
	}
	began := old.Direct.SenderTx != 0
	if began && int32(h.Direct.SenderTx-old.Direct.SenderTx) <= 0 {
		if unique {
			s.told.Answers++ // it was on its way when the newest came
		}
		return
	}
	h.ReplyDSCP, h.ReplyECN, h.Answers = tos>>2, tos&3, s.unique
	h.from, h.before, h.Restarts = old.from, old.before, old.Restarts
	fell := func(now, before uint32) bool { return int32(before-now) > overtaken }
	switch {
	case !began && (fell(h.Direct.SenderTx, h.Direct.ReflectorRx) || fell(h.Direct.SenderTx, h.Direct.ReflectorTx)):
		h.from = tally{h.Direct, h.Answers} // it counts somebody else's as well, from before
	case began && (!old.HasDirect || fell(h.Direct.ReflectorRx, old.Direct.ReflectorRx) || fell(h.Direct.ReflectorTx, old.Direct.ReflectorTx)):
		h.before = lost{old.LostForward(), old.LostBackward()}
		h.from = tally{h.Direct, h.Answers}
		h.Restarts++
	}
	s.told = h
}
