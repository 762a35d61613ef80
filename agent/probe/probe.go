// Package probe measures paths with small packets: session-senders for UDP
// echo, TCP handshake, STAMP and ICMP, and the reflectors that answer them.
//
// One goroutine serves every session of a Sender, over one socket for each
// protocol and address family. It reads no clock that matters: the kernel
// stamps each packet as it leaves and as it arrives (SO_TIMESTAMPING), so when
// this process was scheduled is not in the measurement, and answers may be
// collected in batches. Where the kernel gives no timestamps, Result says so.
//
// Memory: a session holds the packets of at least one timeout (32 to 8,192
// slots of 104 octets) and two seconds of completed samples (56 octets each):
// about 30 kB at 50 Hz with a timeout of one second, whatever is lost.
package probe

import (
	"errors"
	"fmt"
	"time"

	"github.com/detnet/detnet/workload"
)

// Session is one path to measure.
type Session struct {
	ID       string // unique within a Sender
	Protocol workload.Protocol
	Host     string // IP address or name
	Port     uint16 // not for ICMP
	DSCP     uint8  // 0…63 (RFC 2474)
	// Interval is the mean spacing of the packets; each gap is drawn uniformly
	// from half to one and a half of it, so that no session keeps step with
	// periodic traffic (RFC 2330 §11.1.1). Zero means DefaultInterval.
	Interval time.Duration
	// Timeout is the age at which an unanswered packet is lost. Zero means
	// DefaultTimeout.
	Timeout time.Duration
	// Count is how many packets to send; zero means without end.
	Count uint64
}

// What a Session asks for where it says nothing, and how far it may go.
const (
	DefaultInterval = 20 * time.Millisecond
	DefaultTimeout  = time.Second
	MinInterval     = time.Millisecond
	MaxTimeout      = 10 * time.Second
)

// maxSlots bounds the packets that one session has in flight.
const maxSlots = 8192

func (s Session) withDefaults() Session {
	if s.Interval == 0 {
		s.Interval = DefaultInterval
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	return s
}

// Validate reports what makes s impossible to run.
func (s Session) Validate() error {
	s = s.withDefaults()
	switch {
	case s.ID == "":
		return errors.New("session without an id")
	case s.Host == "":
		return fmt.Errorf("session %s: no host to probe", s.ID)
	case s.Protocol != workload.ICMP && s.Port == 0:
		return fmt.Errorf("session %s: %s needs a port", s.ID, s.Protocol)
	case s.DSCP > 63:
		return fmt.Errorf("session %s: DSCP %d must be from 0 to 63", s.ID, s.DSCP)
	case s.Interval < MinInterval || s.Timeout < s.Interval || s.Timeout > MaxTimeout:
		return fmt.Errorf("session %s: interval %v and timeout %v must satisfy %v ≤ interval ≤ timeout ≤ %v",
			s.ID, s.Interval, s.Timeout, MinInterval, MaxTimeout)
	case 2*s.Timeout/s.Interval > maxSlots:
		return fmt.Errorf("session %s: %v at one packet each %v would keep more than %d in flight; shorten the timeout",
			s.ID, s.Timeout, s.Interval, maxSlots/2)
	}
	return nil
}

// Sample is one probe packet: answered, or given up.
type Sample struct {
	Age  time.Duration // since it was sent
	RTT  time.Duration // without the reflector's own time where that is known; 0 if Lost
	Lost bool
	// Forward and Backward are one-way delays that contain the unknown offset
	// between the two clocks: only their variation means something. HasOneWay
	// says whether the reflector gave the timestamps (RFC 8762).
	HasOneWay         bool
	Forward, Backward time.Duration
	// Queue is the time that the packet stood in this host's own queue
	// (TX_SOFTWARE − TX_SCHED), where HasQueue.
	HasQueue bool
	Queue    time.Duration
}

// Totals count packets since a session began. Sent ≥ Received + Lost; the rest
// is in flight. A packet answered after its timeout is Lost and Late.
type Totals struct {
	Sent, Received, Lost, Duplicated, Reordered, Late uint64
}

// Source says who read the clock for a session's timestamps.
type Source uint8

// The sources, worst first.
const (
	SourceUnknown  Source = iota // nothing measured yet
	SourceUser                   // this process: its scheduling is in the figures
	SourceKernel                 // SO_TIMESTAMPING in software, or TCP_INFO
	SourceHardware               // SO_TIMESTAMPING by the NIC
)

func (s Source) String() string {
	return [...]string{"unknown", "user", "kernel", "hardware"}[s]
}

// Result is what a session gained since it was last collected.
type Result struct {
	Session    Session
	Err        error    // why the session cannot measure now; nil if it can
	Failures   int      // tries that failed since the last answer, of which Err is the newest
	Samples    []Sample // ordered by sending
	Timestamps Source   // of the newest sample
	Totals     Totals
	Heard      Heard // in STAMP's extensions, so far
}
