package flight

import (
	"bytes"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/worlds"
)

// play records a simulated world.
func play(t *testing.T, world, name string, span time.Duration) *Recorder {
	t.Helper()
	s, err := worlds.Named(world)
	if err != nil {
		t.Fatal(err)
	}
	l, err := law.New(name, law.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{Span: span, Octets: 1 << 30}
	r.Begin("test", name, law.DefaultConfig())
	s.Told = []plan.Told{{Node: "n1", Found: 190 * bitrate.Mbit, Rate: bitrate.Gbit}}
	sim.Run(s, Law{l, r}, 1)
	return r
}

func TestReplayDecidesTheSame(t *testing.T) {
	for _, tt := range []struct {
		world, law string
		span       time.Duration
	}{
		{"tcp-overload", law.Adaptive, time.Hour},
		{"restart", law.Adaptive, 20 * time.Second},
		{"incast-echo-node-session", law.Adaptive, 16 * time.Second},
		{"slow-patches", law.Adaptive, 8 * time.Second},
		{"lossy-probe", law.AIMD, 8 * time.Second},
		{"flapping-probe", law.Stepwise, 16 * time.Second},
	} {
		t.Run(tt.world+" "+tt.law, func(t *testing.T) {
			t.Parallel()
			r := play(t, tt.world, tt.law, tt.span)
			var file bytes.Buffer
			if _, err := r.WriteTo(&file); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d octets in memory, %d as text, %d segments", r.octets, file.Len(), len(r.kept))
			var news News
			err := Replay(&file, asRecorded, func(r Replayed) error {
				for _, d := range news.Of(r, false) {
					if d.Differs {
						t.Errorf("%v: %+v, recorded %+v", d.At, d.Decision, d.Recorded)
					}
				}
				return nil
			})
			if err != nil || news.Different > 0 || news.Steps < 32 {
				t.Errorf("%d of %d plans differ, %v", news.Different, news.Steps, err)
			}
		})
	}
}
