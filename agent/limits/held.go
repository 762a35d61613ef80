// Package limits decides which egress limit of a pod is in force: what the leader
// said over its stream, or what the pod's annotation says. The annotation is the
// durable record of the same decisions and may come late; it may also be changed
// by an administrator.
package limits

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// Record is what a pod's annotations say, unparsed.
type Record struct {
	Egress   string // workload.AnnotationEgressBandwidth
	Decision string // workload.AnnotationLimitDecision
}

// digest tells one record from another.
func (r Record) digest() string {
	sum := sha256.Sum256([]byte(r.Decision + "\x00" + r.Egress))
	return hex.EncodeToString(sum[:8])
}

// Held is the egress limit in force on one pod, and what has to be remembered to
// tell whether something else is newer. The zero Held knows nothing yet.
type Held struct {
	Rate bitrate.Rate // 0: no limit
	// Newest is the decision that Rate came from, or the last one before an
	// administrator changed it.
	Newest workload.Order
	told   workload.Order // the newest that came over a stream
	seen   string         // digest of the record that was taken into account last
	edited bool           // which somebody else wrote, after Newest
}

// Record takes the pod's annotations into account. A record of a decision counts
// unless a newer one is known; what is no decision's record was written by
// somebody else, and counts from when it is first seen. One that can't be read
// changes nothing and is the error.
func (h Held) Record(r Record) (Held, error) {
	digest := r.digest()
	if digest == h.seen {
		return h, nil
	}
	rate, err := r.rate()
	if err != nil {
		return h, err
	}
	h.seen = digest
	order, recorded := workload.DecidedOrder(r.Decision, r.Egress)
	if recorded && order.Compare(h.Newest) < 0 {
		return h, nil
	}
	h.Rate, h.edited = rate, !recorded
	if recorded {
		h.Newest = order
	}
	return h, nil
}

func (r Record) rate() (bitrate.Rate, error) {
	if r.Egress == "" {
		return 0, nil
	}
	rate, err := bitrate.ParseLimit(r.Egress)
	if err != nil {
		return 0, fmt.Errorf("annotation %s: %w", workload.AnnotationEgressBandwidth, err)
	}
	return rate, nil
}

// Decide takes what the leader said over its stream, whose certificate vouches
// for it: no annotation, whatever number it claims, stands against that. It counts
// once: what came after it is not undone by hearing it again, or by hearing it first after
// its record.
func (h Held) Decide(o workload.Order, rate bitrate.Rate) Held {
	if o.Term == h.told.Term && o.Sequence <= h.told.Sequence {
		return h
	}
	h.told = o
	if h.edited && o == h.Newest {
		return h
	}
	h.Rate, h.Newest, h.edited = rate, o, false
	return h
}

// Follow ends what was decided: the annotation counts again, whatever it is the
// record of.
func (h Held) Follow(r Record) (Held, error) {
	rate, err := r.rate()
	if err != nil {
		return h, err
	}
	order, recorded := workload.DecidedOrder(r.Decision, r.Egress)
	return Held{Rate: rate, Newest: order, told: h.told, seen: r.digest(), edited: !recorded}, nil
}

// Text is for the next agent: it is kept in the kernel beside the limit, and is
// shorter than the 255 octets that an interface's alias may have.
func (h Held) Text() string {
	return strings.Join([]string{"detnet", strconv.FormatInt(int64(h.Rate), 10), h.Newest.String(), h.told.String(), h.seen + mark(h.edited)}, " ")
}

// editedMark follows what was seen where somebody else wrote it. An agent that does not know it takes the
// same record for another, and into account once more.
const editedMark = "+"

func mark(edited bool) string {
	if edited {
		return editedMark
	}
	return ""
}

var errText = errors.New("not what an agent wrote")

// ParseHeld reads what Text wrote.
func ParseHeld(text string) (Held, error) {
	f := strings.Split(text, " ")
	if len(f) != 5 || f[0] != "detnet" {
		return Held{}, fmt.Errorf("limit in force %q: %w", text, errText)
	}
	rate, errRate := strconv.ParseInt(f[1], 10, 64)
	newest, errNewest := workload.ParseOrder(f[2])
	told, errTold := workload.ParseOrder(f[3])
	if err := errors.Join(errRate, errNewest, errTold); err != nil || rate < 0 {
		return Held{}, fmt.Errorf("limit in force %q: %w", text, errText)
	}
	seen, edited := strings.CutSuffix(f[4], editedMark)
	return Held{Rate: bitrate.Rate(rate), Newest: newest, told: told, seen: seen, edited: edited}, nil
}
