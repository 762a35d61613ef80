package issuer

import (
	"bytes"
	"crypto/tls"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/certs"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// inSecret is told of who reads the bundle in the Secret, and nowhere else.
var inSecret = told{everywhere: true}

func testRotation() rotation {
	return rotation{names: []string{"detnet-agent"}, validity: 90 * 24 * time.Hour, spread: 10 * time.Minute}
}

// A version is what the Secret held from a moment on.
type version struct {
	from time.Time
	data map[string][]byte
}

// trusts reports whether a reader of one version accepts a holder of another.
func trusts(t *rapid.T, reader, holder version, now time.Time) bool {
	active := testRotation().usable(holder.data[certs.CertFile], holder.data[certs.KeyFile], now)
	if active == nil {
		t.Fatalf("at %v: the certificate written at %v is unusable", now, holder.from)
	}
	for _, certificate := range parseBundle(reader.data[certs.CAFile]) {
		if certificate.Equal(active.certificate) {
			return true
		}
	}
	return false
}

// The promise: whoever reads the Secret within a spread is trusted by, and
// trusts, everyone else who does, across every replacement.
func TestRotationNeverBreaksTrust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := testRotation()
		now := start
		history := []version{{from: now}}
		rotations := 0
		for range rapid.IntRange(20, 120).Draw(t, "rounds") {
			latest := history[len(history)-1]
			data, due, err := r.advance(latest.data, inSecret, now)
			if err != nil {
				t.Fatal(err)
			}
			if !due.After(now) {
				t.Fatalf("at %v: due %v is not in the future", now, due)
			}
			if !maps.EqualFunc(data, latest.data, bytes.Equal) {
				if !bytes.Equal(data[certs.CertFile], latest.data[certs.CertFile]) {
					rotations++
				}
				history = append(history, version{now, data})
			}
			// The readers are up to a spread behind, each by its own delay.
			readable := history[1:]
			for len(readable) > 1 && now.Sub(readable[1].from) >= r.spread {
				readable = readable[1:]
			}
			for _, reader := range readable {
				for _, holder := range readable {
					if !trusts(t, reader, holder, now) {
						t.Fatalf("at %v: the bundle of %v lacks the certificate of %v", now, reader.from, holder.from)
					}
				}
			}
			// The next round is on time, early for no reason, or late.
			now = now.Add(rapid.SampledFrom([]time.Duration{
				due.Sub(now), due.Sub(now) / 2, due.Sub(now) + time.Hour, time.Second, r.spread,
			}).Draw(t, "pause"))
		}
		if span := now.Sub(start); span > 4*r.validity && rotations < 3 {
			t.Fatalf("%d certificates in %v", rotations, span)
		}
	})
}

func TestAdvanceSettles(t *testing.T) {
	r := testRotation()
	data, due, err := r.advance(nil, inSecret, start)
	if err != nil {
		t.Fatal(err)
	}
	if want := start.Add(60 * 24 * time.Hour); !due.Equal(want) {
		t.Errorf("the first certificate is due %v, want %v", due, want)
	}
	again, _, err := r.advance(data, inSecret, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(data, again, bytes.Equal) {
		t.Error("a second look an hour later changed the Secret")
	}
}

// Putting the replacement to use must not touch the bundle: the API server
// would have to be told, at the very moment the certificate changes.
func TestRotationInSteps(t *testing.T) {
	r := testRotation()
	advance := func(data map[string][]byte, now time.Time) map[string][]byte {
		t.Helper()
		out, _, err := r.advance(data, inSecret, now)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	renewal := start.Add(60 * 24 * time.Hour)
	first := advance(nil, start)
	announced := advance(first, renewal)
	if !bytes.Equal(announced[certs.CertFile], first[certs.CertFile]) || len(parseBundle(announced[certs.CAFile])) != 2 {
		t.Fatal("the renewal did not add trust alone")
	}
	waiting := advance(announced, renewal.Add(r.spread-time.Second))
	if !maps.EqualFunc(waiting, announced, bytes.Equal) {
		t.Fatal("the replacement was used before it had spread")
	}
	used := advance(announced, renewal.Add(r.spread))
	if !bytes.Equal(used[certs.CertFile], announced[nextCertFile]) || !bytes.Equal(used[certs.KeyFile], announced[nextKeyFile]) {
		t.Fatal("the replacement was not used after it had spread")
	}
	if !bytes.Equal(used[certs.CAFile], announced[certs.CAFile]) {
		t.Fatal("the bundle changed together with the certificate")
	}
	// Its next renewal drops the first one, long expired, from the bundle.
	if later := advance(used, renewal.Add(60*24*time.Hour)); len(parseBundle(later[certs.CAFile])) != 2 {
		t.Fatalf("%d certificates in the bundle, want the one in use and its replacement", len(parseBundle(later[certs.CAFile])))
	}
}

// Who can't be told of a replacement keeps it from use, not from being announced; a
// spread after they know it is used, and at once where nothing else is left.
func TestRotationWaitsForWhoIsTold(t *testing.T) {
	r := testRotation()
	first, _, err := r.advance(nil, told{}, start)
	if err != nil {
		t.Fatal(err)
	}
	renewal := start.Add(60 * 24 * time.Hour)
	announced, due, err := r.advance(first, told{}, renewal)
	if err != nil || len(announced[nextCertFile]) == 0 {
		t.Fatalf("nothing was announced: %v", err)
	}
	heard := renewal.Add(5 * 24 * time.Hour)
	for _, c := range []struct {
		name string
		told told
		now  time.Time
		used bool
	}{
		{"some don't know", told{}, due.Add(time.Hour), false},
		{"all know, for less than a spread", told{true, heard}, heard.Add(r.spread - time.Second), false},
		{"all have known for a spread", told{true, heard}, heard.Add(r.spread), true},
		{"some don't know, and the one before has expired", told{}, start.Add(r.validity), true},
	} {
		data, due, err := r.advance(announced, c.told, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if used := bytes.Equal(data[certs.CertFile], announced[nextCertFile]); used != c.used || !due.After(c.now) {
			t.Errorf("%s: used: %v, want %v; looks again in %v", c.name, used, c.used, due.Sub(c.now))
		}
	}
}

// Whatever is wrong with what the Secret holds, the next round mends it.
func TestAdvanceReplacesTheUnusable(t *testing.T) {
	r := testRotation()
	good, _, err := r.advance(nil, inSecret, start)
	if err != nil {
		t.Fatal(err)
	}
	other := r
	other.names = []string{"elsewhere"}
	foreign, _, err := other.advance(nil, inSecret, start)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string][]byte{
		"empty":             {},
		"certificate alone": {certs.CertFile: good[certs.CertFile], certs.CAFile: good[certs.CAFile]},
		"no PEM":            {certs.CertFile: []byte("x"), certs.KeyFile: []byte("y"), certs.CAFile: []byte("z")},
		"another's key":     {certs.CertFile: good[certs.CertFile], certs.KeyFile: foreign[certs.KeyFile], certs.CAFile: good[certs.CAFile]},
		"other names":       foreign,
	}
	for name, data := range tests {
		out, _, err := r.advance(data, inSecret, start)
		if err != nil {
			t.Fatal(err)
		}
		p, err := tls.X509KeyPair(out[certs.CertFile], out[certs.KeyFile])
		if err != nil || p.Leaf.DNSNames[0] != "detnet-agent" {
			t.Errorf("%s: %v", name, err)
		}
		if err := new(certs.Current).Set(out[certs.CertFile], out[certs.KeyFile], out[certs.CAFile]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Nobody looked for a year: the certificate has expired.
	late := start.Add(365 * 24 * time.Hour)
	out, _, err := r.advance(good, inSecret, late)
	if err != nil {
		t.Fatal(err)
	}
	if trusted := parseBundle(out[certs.CAFile]); len(trusted) != 1 || !late.Before(trusted[0].NotAfter) {
		t.Errorf("after a year the bundle holds %d certificates", len(trusted))
	}
	// The bundle alone was lost: trust in the certificate in use comes back.
	out, _, err = r.advance(map[string][]byte{certs.CertFile: good[certs.CertFile], certs.KeyFile: good[certs.KeyFile]}, inSecret, start)
	if err != nil || !maps.EqualFunc(out, good, bytes.Equal) {
		t.Errorf("a lost bundle was not restored: %v", err)
	}
}

// A clock that was far ahead when the certificate was made, and was set right since:
// nobody would take the certificate for years.
func TestAdvanceAfterTheClockWasSetBack(t *testing.T) {
	r := testRotation()
	ahead, _, err := r.advance(nil, inSecret, start.Add(365*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	out, due, err := r.advance(ahead, inSecret, start)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tls.X509KeyPair(out[certs.CertFile], out[certs.KeyFile])
	if err != nil || p.Leaf.NotBefore.After(start) || !due.Before(start.Add(365*24*time.Hour)) {
		t.Errorf("valid from %v, due at %v, %v; it is %v", p.Leaf.NotBefore, due, err, start)
	}
	// Clocks of replicas differ a little: nobody replaces what another just made.
	same, _, err := r.advance(out, inSecret, start.Add(-skew))
	if err != nil || string(same[certs.CertFile]) != string(out[certs.CertFile]) {
		t.Errorf("a replica that is %v behind makes another one: %v", skew, err)
	}
}

// Timers go on by themselves when the clock is set: whatever is due is looked at
// again before long.
func TestWaitIsShort(t *testing.T) {
	for due, want := range map[time.Time]time.Duration{
		start.Add(60 * 24 * time.Hour): lookAgain, start.Add(10 * time.Second): 10 * time.Second, start.Add(-time.Hour): time.Second,
	} {
		if got := wait(due, start); got != want {
			t.Errorf("due in %v: %v, want %v", due.Sub(start), got, want)
		}
	}
}
