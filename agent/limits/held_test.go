package limits

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

const mbit = bitrate.Mbit

func record(term, sequence uint64, egress string) Record {
	return Record{Egress: egress, Decision: workload.DecisionText(workload.Order{Term: term, Sequence: sequence}, egress)}
}

// Who is right when: one row of the decision's table each.
func TestWhoIsRight(t *testing.T) {
	type step func(Held) Held
	seen := func(r Record) step {
		return func(h Held) Held { h, _ = h.Record(r); return h }
	}
	said := func(term, sequence uint64, rate bitrate.Rate) step {
		return func(h Held) Held { return h.Decide(workload.Order{Term: term, Sequence: sequence}, rate) }
	}
	follow := func(r Record) step {
		return func(h Held) Held { h, _ = h.Follow(r); return h }
	}
	restart := func(h Held) Held {
		h, err := ParseHeld(h.Text())
		if err != nil {
			t.Error(err)
		}
		return h
	}
	admitted := Record{Egress: "1G"}
	for _, tt := range []struct {
		name  string
		steps []step
		want  bitrate.Rate
	}{
		{"as admitted", []step{seen(admitted)}, 1000 * mbit},
		{"no limit at all", []step{seen(Record{})}, 0},
		{"the stream is ahead of the record", []step{seen(admitted), said(7, 1, 50*mbit), seen(admitted)}, 50 * mbit},
		{"a record comes late, and is looser", []step{seen(admitted), said(7, 1, 80*mbit), said(7, 2, 50*mbit), seen(record(7, 1, "80M"))}, 50 * mbit},
		{"a record comes late, and is tighter", []step{seen(admitted), said(7, 1, 20*mbit), said(7, 2, 50*mbit), seen(record(7, 1, "20M"))}, 50 * mbit},
		{"the stream is lost, and the same leader records more", []step{seen(admitted), said(7, 2, 50*mbit), seen(record(7, 3, "60M"))}, 60 * mbit},
		{"and comes back with what was recorded", []step{seen(admitted), said(7, 2, 50*mbit), seen(record(7, 3, "60M")), said(7, 3, 60*mbit)}, 60 * mbit},
		{"the agent was restarted, the record is late", []step{seen(admitted), said(7, 2, 50*mbit), restart, seen(admitted)}, 50 * mbit},
		{"and an older record comes then", []step{seen(admitted), said(7, 2, 50*mbit), restart, seen(record(7, 1, "80M"))}, 50 * mbit},
		{"a newer was recorded while it was away", []step{seen(admitted), said(7, 2, 50*mbit), restart, seen(record(7, 9, "90M"))}, 90 * mbit},
		{"hearing the same again after a restart", []step{seen(admitted), said(7, 2, 50*mbit), seen(Record{Egress: "30M"}), restart, said(7, 2, 50*mbit)}, 30 * mbit},
		{"another leader without a stream", []step{seen(admitted), said(7, 2, 50*mbit), seen(record(8, 1, "70M"))}, 70 * mbit},
		{"and the old one's write after that", []step{seen(admitted), said(7, 2, 50*mbit), seen(record(8, 1, "70M")), seen(record(7, 3, "90M"))}, 70 * mbit},
		{"another leader with a stream", []step{seen(record(7, 9, "50M")), said(8, 1, 40*mbit)}, 40 * mbit},
		{"an administrator raises it", []step{seen(record(7, 2, "50M")), said(7, 3, 40*mbit), seen(Record{"500M", record(7, 2, "50M").Decision})}, 500 * mbit},
		{"an administrator lowers it", []step{seen(record(7, 2, "50M")), seen(Record{"5M", record(7, 2, "50M").Decision})}, 5 * mbit},
		{"and the leader decides after that", []step{seen(record(7, 2, "50M")), seen(Record{Egress: "500M"}), said(7, 3, 40*mbit)}, 40 * mbit},
		{"an administrator takes the annotation away", []step{seen(record(7, 2, "50M")), seen(Record{})}, 0},
		{"an annotation that can't be read", []step{seen(record(7, 2, "50M")), seen(Record{Egress: "fast"})}, 50 * mbit},
		{"a number that a tenant made up stands against no stream", []step{seen(record(1<<63, 1, "1G")), said(7, 1, 50*mbit)}, 50 * mbit},
		{"the pod is let go, and the record was late", []step{seen(admitted), said(7, 1, 50*mbit), follow(admitted)}, 1000 * mbit},
		{"and given back", []step{seen(admitted), said(7, 2, 50*mbit), follow(record(7, 1, "80M")), seen(Record{Egress: "1G"})}, 1000 * mbit},
		{"and decided about again", []step{seen(admitted), said(7, 1, 50*mbit), follow(admitted), said(7, 2, 60*mbit)}, 60 * mbit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h Held
			for _, step := range tt.steps {
				h = step(h)
			}
			if h.Rate != tt.want {
				t.Errorf("in force: %v, want %v", h.Rate, tt.want)
			}
		})
	}
}

// world is a pod, the leaders that follow one another, and what is on its way.
type world struct {
	term, sequence uint64
	decided        map[workload.Order]bitrate.Rate
	unwritten      []workload.Order // decisions on their way to the API server, of any leader
	server         Record           // what it holds
	watched        Record           // the newest that the agent has seen
	held           Held
	connected      bool

	// What has to be in force: the newest that reached the agent.
	want  bitrate.Rate
	newer workload.Order
}

func (w *world) decide(rate bitrate.Rate) {
	w.sequence++
	o := workload.Order{Term: w.term, Sequence: w.sequence}
	w.decided[o] = rate
	w.unwritten = append(w.unwritten, o)
	w.hear()
}

// hear is the leader's list, as it is sent at any change and when a stream begins.
func (w *world) hear() {
	o := workload.Order{Term: w.term, Sequence: w.sequence}
	rate, any := w.decided[o]
	if !w.connected || !any {
		return
	}
	w.held = w.held.Decide(o, rate)
	if o.Compare(w.newer) > 0 {
		w.want, w.newer = rate, o
	}
}

// write lets one write arrive, in any order; some never do.
func (w *world) write(i int) {
	if len(w.unwritten) == 0 {
		return
	}
	i %= len(w.unwritten)
	o := w.unwritten[i]
	w.unwritten = append(w.unwritten[:i:i], w.unwritten[i+1:]...)
	w.server = record(o.Term, o.Sequence, w.decided[o].String())
}

// watch lets the agent see the present state of the API server.
func (w *world) watch() {
	before := w.watched
	w.watched = w.server
	w.held, _ = w.held.Record(w.server)
	if before == w.server {
		return
	}
	o, recorded := workload.DecidedOrder(w.server.Decision, w.server.Egress)
	switch {
	case !recorded:
		w.want, _ = w.server.rate()
	case o.Compare(w.newer) >= 0:
		w.want, w.newer = w.decided[o], o
	}
}

// Whatever comes late, twice or never, and whoever restarts: in force is the
// newest that has reached the node, by either road.
func TestTheNewestIsInForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{term: 1, decided: map[workload.Order]bitrate.Rate{}, server: Record{Egress: "1G"}}
		w.watch()
		rates := rapid.IntRange(1, 900)
		t.Repeat(map[string]func(*rapid.T){
			"decide":  func(t *rapid.T) { w.decide(bitrate.Rate(rates.Draw(t, "Mbit")) * mbit) },
			"write":   func(t *rapid.T) { w.write(rapid.IntRange(0, 50).Draw(t, "which")) },
			"watch":   func(*rapid.T) { w.watch() },
			"lose":    func(*rapid.T) { w.connected = false },
			"connect": func(*rapid.T) { w.connected = true; w.hear() },
			"restart": func(t *rapid.T) {
				w.connected = false
				held, err := ParseHeld(w.held.Text())
				if err != nil {
					t.Fatal(err)
				}
				w.held = held
				w.watch()
			},
			"another leader": func(*rapid.T) { w.connected, w.term, w.sequence = false, w.term+1, 0 },
			"edit": func(t *rapid.T) {
				edited := (bitrate.Rate(rates.Draw(t, "Mbit")) * mbit).String()
				if _, same := workload.DecidedOrder(w.server.Decision, edited); !same {
					w.server.Egress = edited
				}
			},
			"": func(t *rapid.T) {
				if w.held.Rate != w.want {
					t.Fatalf("in force %v, want %v (%+v, newest %v, record %+v)", w.held.Rate, w.want, w.held, w.newer, w.watched)
				}
			},
		})
	})
}

func FuzzParseHeld(f *testing.F) {
	f.Add(Held{Rate: 50 * mbit, Newest: workload.Order{Term: 7, Sequence: 2}, told: workload.Order{Term: 7, Sequence: 2}, seen: "0123456789abcdef"}.Text())
	f.Add("detnet 1 1.1 1.1")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHeld(text)
		if err != nil {
			return
		}
		if back, err := ParseHeld(h.Text()); err != nil || back != h {
			t.Errorf("%q reads as %+v, and back as %+v, %v", text, h, back, err)
		}
	})
}

// What an administrator sets after a decision was recorded is not undone when the leader's list,
// which still has that decision, is first heard; a newer decision is.
func TestAnEditIsNotUndoneByWhatWasRecordedBeforeIt(t *testing.T) {
	h, _ := Held{}.Record(record(1, 1, "1M"))
	h, _ = h.Record(Record{Egress: "2M", Decision: record(1, 1, "1M").Decision})
	kept, err := ParseHeld(h.Text())
	if err != nil {
		t.Fatal(err)
	}
	for _, held := range []Held{h, kept} {
		if held = held.Decide(workload.Order{Term: 1, Sequence: 1}, mbit); held.Rate != 2*mbit {
			t.Errorf("in force %v, want 2M", held.Rate)
		}
		if held = held.Decide(workload.Order{Term: 1, Sequence: 2}, 3*mbit); held.Rate != 3*mbit {
			t.Errorf("in force %v, want 3M", held.Rate)
		}
	}
	forged, _ := Held{}.Record(record(1, 1, "1G"))
	if forged = forged.Decide(workload.Order{Term: 1, Sequence: 1}, mbit); forged.Rate != mbit {
		t.Errorf("a record that says other than the leader is believed: %v", forged.Rate)
	}
}
