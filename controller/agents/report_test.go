package agents

import (
	"strings"
	"testing"

	"github.com/detnet/detnet/agent/api"
)

// What an agent can have a controller keep or make room for is bounded.
func TestReportsAreBounded(t *testing.T) {
	for _, n := range []int{mostSamples, mostSamples + 1} {
		_, full := samples(&api.SessionReport{AgeNs: make([]int64, n), RttNs: make([]int64, n)}, epoch)
		_, packed := unpacked(&api.PackedSession{Gap: make([]uint32, n), RttUs: make([]uint32, n)}, epoch)
		if refused := n > mostSamples; (full != nil) != refused || (packed != nil) != refused {
			t.Errorf("%d samples: %v; packed: %v", n, full, packed)
		}
	}
	var s session
	p := Pool{reports: 1}
	if err := p.add(&s, nil, strings.Repeat("é", longestWhy), epoch); err != nil || len(s.err) > longestWhy || len(s.err) < longestWhy-1 {
		t.Errorf("%d octets of an error are kept", len(s.err))
	}
}
