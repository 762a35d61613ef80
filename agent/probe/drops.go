package probe

// Reason is why a received packet did not count as the answer to a probe.
type Reason uint8

// The reasons.
const (
	None           Reason = iota
	Short                 // too short for an answer
	Oversized             // longer than any packet
	Malformed             // not of this format
	WrongKey              // the format, but no key of ours made it
	Unsigned              // not authenticated, and we are
	PlainEcho             // our own STAMP packet, as it was
	OtherProtocol         // a STAMP answer to a plain echo
	ForeignSession        // another session identifier
	ForeignSource         // from another address or port than the session's target
	UnknownNumber         // answers a packet that was never sent, or long ago
	reasons
)

var reasonNames = [reasons]string{"none", "short", "oversized", "malformed", "wrong_key", "unsigned", "plain_echo",
	"other_protocol", "foreign_session", "foreign_source", "unknown_number"}

var reasonAdvice = [reasons]string{
	Short:          "another service answers at this port",
	Oversized:      "another service answers at this port",
	Malformed:      "another service answers at this port; is it an echo (-p udp) or a STAMP reflector (-p stamp)?",
	WrongKey:       "the reflector has another key: compare the key files",
	Unsigned:       "the reflector has no key, or answers without: give it the key, or leave out --auth-key-file",
	PlainEcho:      "this is a plain echo: use -p udp",
	OtherProtocol:  "this is a STAMP reflector: use -p stamp",
	ForeignSession: "answers with another session identifier: somebody else's, or forged",
	ForeignSource:  "answers from another address or port than was asked: a reflector on a host of several, or forged",
	UnknownNumber:  "answers to packets that were not sent, or long ago: does the reflector copy the sequence number?",
}

func (r Reason) String() string { return reasonNames[r] }

// Advice says what the reason means for whoever runs the measurement.
func (r Reason) Advice() string { return reasonAdvice[r] }

// Drops counts received packets that were not the answer to a probe, by reason.
type Drops [reasons]uint64

// Plus adds two counts.
func (d Drops) Plus(e Drops) Drops {
	for i := range d {
		d[i] += e[i]
	}
	return d
}

// Total is the number of dropped packets.
func (d Drops) Total() (n uint64) {
	for _, each := range d {
		n += each
	}
	return n
}

// ByReason returns the counts by the reason's name.
func (d Drops) ByReason() map[string]uint64 {
	out := make(map[string]uint64, reasons-1)
	for r := None + 1; r < reasons; r++ {
		out[r.String()] = d[r]
	}
	return out
}
