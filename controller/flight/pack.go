package flight

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// news is what a step has that the one before had not.
type news struct {
	Samples []delta    `json:"samples,omitempty"` // of paths, in the order of the cast
	Rates   []delta    `json:"rates,omitempty"`   // of senders
	Limits  [][2]int64 `json:"limits,omitempty"`  // sender and bit/s
	// Bases are of paths: path, ns, whether it is known, ns one way and back.
	Bases [][6]int64 `json:"bases,omitempty"`
}

// delta turns what was last seen of one path or sender into what is seen now:
// the oldest are dropped, and others come in.
type delta struct {
	Of   int        `json:"of"`
	Drop int        `json:"drop,omitempty"`
	Add  []addition `json:"add,omitempty"`
}

// addition comes in after so many that stay. A sample's row is its age in ns
// and, unless it was lost, its round trip and, where they are known, both
// one-way delays; a rate's row is the age of its end and bit/s.
type addition struct {
	Skip int       `json:"skip,omitempty"`
	Rows [][]int64 `json:"rows"`
}

// columns is the most that a row has.
const columns = 4

// row is a sample or a rate in numbers, of which n count. As they are packed the last of
// four is what the third and it lack to the second: nothing, where the reflector's clock
// and the sender's are right.
type row struct {
	n int
	v [columns]int64
}

func sampleRow(s plan.Sample, now time.Time) row {
	r := row{1, [columns]int64{int64(now.Sub(s.At.Time())), int64(s.RTT), int64(s.Forward), int64(s.Backward())}}
	switch {
	case s.HasOneWay:
		r.n = 4
	case !s.Lost:
		r.n = 2
	}
	return r
}

func rateRow(r plan.TxRate, now time.Time) row {
	packed := row{2, [columns]int64{int64(now.Sub(r.At.Time())), int64(r.Tx), int64(r.Out)}}
	if r.Out != 0 {
		packed.n = 3
	}
	return packed
}

// pack appends to b what o has that h had not, and takes it in. The cast is the
// same.
//
// Numbers are varints, rows differences from the row before: a sample takes
// about 12 octets, as agents round it some 8. A list ends with a 0 where the next item's index + 1 would be.
func (h *history) pack(b []byte, o plan.Observation) []byte {
	next := 0
	var last, lastRate [columns]int64 // rows of one path are like those of another
	paths := func(all []plan.Session) {
		for _, s := range all {
			b = appendDelta(b, next, h.samples[next], s.Samples, o.At, &last, sampleRow)
			h.samples[next] = s.Samples
			next++
		}
	}
	bases := func(all []plan.Session) {
		for _, s := range all {
			if s.Base != h.bases[next] {
				b = binary.AppendUvarint(b, uint64(next+1))
				for _, v := range baseRow(s.Base) {
					b = binary.AppendVarint(b, v)
				}
				h.bases[next] = s.Base
			}
			next++
		}
	}
	for i := range o.Apps {
		paths(o.Apps[i].Sessions)
		paths(o.Apps[i].NodeSessions)
	}
	b = append(b, 0)
	for i := range o.Senders {
		s := &o.Senders[i]
		b = appendDelta(b, i, h.rates[i], s.Rates, o.At, &lastRate, rateRow)
		h.rates[i] = s.Rates
	}
	b = append(b, 0)
	for i := range o.Senders {
		if limit := o.Senders[i].Limit; limit != h.limits[i] {
			b = binary.AppendUvarint(b, uint64(i+1))
			b = binary.AppendVarint(b, int64(limit))
			h.limits[i] = limit
		}
	}
	b = append(b, 0)
	next = 0
	for i := range o.Apps {
		bases(o.Apps[i].Sessions)
		bases(o.Apps[i].NodeSessions)
	}
	return append(b, 0)
}

func baseRow(b plan.Base) [5]int64 {
	row := [5]int64{int64(b.Delay), 0, int64(b.Forward), int64(b.Back), int64(b.Idle)}
	if b.Known {
		row[1] = 1
	}
	return row
}

func baseOf(v [6]int64) plan.Base {
	return plan.Base{Delay: time.Duration(v[1]), Known: v[2] != 0, Forward: time.Duration(v[3]), Back: time.Duration(v[4]), Idle: time.Duration(v[5])}
}

// insert is a stretch of what is new, after so many of the old.
type insert struct{ skip, from, to int }

func appendDelta[T comparable](b []byte, of int, was, is []T, now time.Time, last *[columns]int64, asRow func(T, time.Time) row) []byte {
	if len(was) == len(is) && (len(is) == 0 || &was[0] == &is[0]) {
		return b
	}
	var some [4]insert
	drop, inserts := compare(was, is, some[:0])
	if drop == 0 && len(inserts) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(of+1))
	b = binary.AppendUvarint(b, uint64(drop))
	b = binary.AppendUvarint(b, uint64(len(inserts)))
	for _, in := range inserts {
		b = binary.AppendUvarint(b, uint64(in.skip))
		b = binary.AppendUvarint(b, uint64(in.to-in.from))
		for _, item := range is[in.from:in.to] {
			r := asRow(item, now)
			r.v[columns-1] = r.v[1] - r.v[2] - r.v[3]
			b = r.append(b, last)
		}
	}
	return b
}

// units are what agents round to: in them rows differ by smaller numbers.
var units = [columns]int64{int64(250 * time.Microsecond), 1000, 1000, 1000}

// rounded marks a row that differs from the one before by whole units.
const rounded = 1 << 4

// append appends how r differs from the row before, which it becomes.
func (r *row) append(b []byte, last *[columns]int64) []byte {
	var diff [columns]int64
	whole := true
	for i, v := range r.v[:r.n] {
		diff[i], last[i] = v-last[i], v
		whole = whole && diff[i]%units[i] == 0
	}
	if !whole {
		b = append(b, byte(r.n))
	} else {
		b = append(b, byte(r.n)|rounded)
	}
	for i, d := range diff[:r.n] {
		if whole {
			d /= units[i]
		}
		b = binary.AppendVarint(b, d)
	}
	return b
}

// compare finds what turns was into is: how many of the oldest went, and what
// came in where.
func compare[T comparable](was, is []T, inserts []insert) (drop int, all []insert) {
	for drop < len(was) && (len(is) == 0 || was[drop] != is[0]) {
		drop++
	}
	old, last := drop, drop
	for i := 0; i < len(is); {
		if old < len(was) && was[old] == is[i] {
			old++
			i++
			continue
		}
		from := i
		for i < len(is) && (old == len(was) || was[old] != is[i]) {
			i++
		}
		inserts = append(inserts, insert{old - last, from, i})
		last = old
	}
	if old < len(was) { // one in between went: begin anew
		return len(was), append(inserts[:0], insert{0, 0, len(is)})
	}
	return drop, inserts
}

// packed reads what pack wrote.
type packed []byte

func (p *packed) count() int {
	v, n := binary.Uvarint(*p)
	*p = (*p)[n:]
	return int(v)
}

func (p *packed) number() int64 {
	v, n := binary.Varint(*p)
	*p = (*p)[n:]
	return v
}

func (p *packed) deltas() []delta {
	var all []delta
	var last [columns]int64
	for of := p.count(); of != 0; of = p.count() {
		d := delta{Of: of - 1, Drop: p.count(), Add: make([]addition, p.count())}
		for i := range d.Add {
			a := &d.Add[i]
			a.Skip, a.Rows = p.count(), make([][]int64, p.count())
			for k := range a.Rows {
				n := p.count()
				for c := range n &^ rounded {
					d := p.number()
					if n&rounded != 0 {
						d *= units[c]
					}
					last[c] += d
				}
				n &^= rounded
				if a.Rows[k] = slices.Clone(last[:n]); n == columns {
					a.Rows[k][3] = last[1] - last[2] - last[3]
				}
			}
		}
		all = append(all, d)
	}
	return all
}

func (p packed) unpack() news {
	n := news{Samples: p.deltas(), Rates: p.deltas()}
	for of := p.count(); of != 0; of = p.count() {
		n.Limits = append(n.Limits, [2]int64{int64(of - 1), p.number()})
	}
	for of := p.count(); of != 0; of = p.count() {
		n.Bases = append(n.Bases, [6]int64{int64(of - 1), p.number(), p.number(), p.number(), p.number(), p.number()})
	}
	return n
}
