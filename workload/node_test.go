package workload

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

func TestFound(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := Found{194 * bitrate.Mbit, at}
	if got, err := ParseFound(f.String()); err != nil || got != f || f.String() != "194M 2026-01-01T00:00:00Z" {
		t.Errorf("%q is read as %v, %v", f, got, err)
	}
	if got, err := ParseFound(Found{}.String()); err != nil || got != (Found{}) {
		t.Errorf("nothing is read as %v, %v", got, err)
	}
	for age, want := range map[time.Duration]bitrate.Rate{0: f.Rate, FoundFor: f.Rate, FoundFor + time.Second: 0, -time.Minute: f.Rate, -time.Hour: 0} {
		if got := f.Fresh(at.Add(age)); got != want {
			t.Errorf("after %v it is %v, want %v", age, got, want)
		}
	}
	for _, text := range []string{"194M", "2026-01-01T00:00:00Z", "0 2026-01-01T00:00:00Z", "-5M 2026-01-01T00:00:00Z", "900T 2026-01-01T00:00:00Z", "194M yesterday", "194M 2026-01-01T00:00:00Z and more", " "} {
		if got, err := ParseFound(text); err == nil || got != (Found{}) {
			t.Errorf("%q is read as %v, %v", text, got, err)
		}
	}
}

func FuzzFound(f *testing.F) {
	f.Add("194M 2026-01-01T00:00:00Z")
	f.Add("1G 2026-01-01T01:00:00+01:00")
	f.Fuzz(func(t *testing.T, text string) {
		found, err := ParseFound(text)
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d octets", len(err.Error()))
			}
			return
		}
		if again, err := ParseFound(found.String()); err != nil || again != found {
			t.Errorf("%q is %v, and written back %v, %v", text, found, again, err)
		}
	})
}
