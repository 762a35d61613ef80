package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// After a try that was too much a link that carries more again is heard at once by how quiet it is, not only once that was
// learned anew for four seconds; that more is left free of it than before is no such sign.
func TestALinkIsHeardToCarryMoreSoonAfterATry(t *testing.T) {
	now := time.Unix(0, 0)
	for name, tt := range map[string]struct {
		was   Usual
		given bitrate.Rate // Mbit/s of 100 that fit through
		delay time.Duration
		heard bool
	}{
		"it carries more":                            {Usual{120e-6, 96 * mbit}, 96, 20 * time.Microsecond, true},
		"it does not":                                {Usual{120e-6, 96 * mbit}, 96, 120 * time.Microsecond, false},
		"it does not, and twice as much is free":     {Usual{120e-6, 98 * mbit}, 96, 50 * time.Microsecond, false},
		"it was not known how quiet it was":          {Usual{}, 96, 20 * time.Microsecond, false},
		"more was given out than is known to fit":    {Usual{120e-6, 101 * mbit}, 96, 20 * time.Microsecond, false},
		"it carries more, and twice as much is free": {Usual{120e-6, 98 * mbit}, 96, 5 * time.Microsecond, true},
	} {
		r, heard := tt.was.again(now, 100*mbit, tt.given*mbit), false
		for at := 100 * time.Millisecond; at <= 3500*time.Millisecond; at += 100 * time.Millisecond {
			heard = heard || r.Fell(now.Add(at), tt.delay)
		}
		if heard != tt.heard {
			t.Errorf("%s: heard %v", name, heard)
		}
	}
}
