// Package load describes what a sender of the demo is to send, and is how the
// demo tells it.
package load

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Kind is a way to send.
type Kind string

// The kinds of load.
const (
	TCP Kind = "tcp" // elastic: takes all it gets
	UDP Kind = "udp" // inelastic: Rate, whatever happens to it
	CPU Kind = "cpu" // sends nothing and keeps Conns cores busy
)

// Load is one sender's task.
type Load struct {
	Kind  Kind         `json:"kind"`
	To    string       `json:"to"`              // host:port of the sink
	Rate  bitrate.Rate `json:"rate,omitempty"`  // UDP: IP packets, bit/s
	Conns int          `json:"conns,omitempty"` // TCP: connections; CPU: cores
	// On and Off alternate where both are given; else the load is steady.
	On  time.Duration `json:"on,omitempty"`
	Off time.Duration `json:"off,omitempty"`
	// For bounds the load, so that a forgotten one ends by itself.
	For time.Duration `json:"for"`
}

// Active tells whether the load is sending at a time since it began.
func (l Load) Active(since time.Duration) bool {
	if since < 0 || since >= l.For {
		return false
	}
	return l.On == 0 || since%(l.On+l.Off) < l.On
}

// maxFor is the longest load.
const maxFor = 10 * time.Minute

// Parse reads and checks a load.
func Parse(data []byte) (Load, error) {
	var l Load
	if err := json.Unmarshal(data, &l); err != nil {
		return Load{}, fmt.Errorf("read load: %w", err)
	}
	switch {
	case l.Kind != UDP && (l.Conns < 1 || l.Conns > 64):
		return Load{}, fmt.Errorf("load: conns is %d, must be from 1 to 64", l.Conns)
	case l.Kind == UDP && (l.Rate < bitrate.Min || l.Rate > bitrate.Gbit):
		return Load{}, fmt.Errorf("load: rate is %v, must be from %v to %v", l.Rate, bitrate.Min, bitrate.Gbit)
	case l.Kind != TCP && l.Kind != UDP && l.Kind != CPU:
		return Load{}, fmt.Errorf("load: kind is %q, must be %s, %s or %s", l.Kind, TCP, UDP, CPU)
	case l.For <= 0 || l.For > maxFor:
		return Load{}, fmt.Errorf("load: for is %v, must be more than 0 and at most %v", l.For, maxFor)
	case l.On < 0 || l.Off < 0 || (l.On == 0) != (l.Off == 0):
		return Load{}, fmt.Errorf("load: on is %v and off is %v, give both or neither", l.On, l.Off)
	}
	return l, nil
}
