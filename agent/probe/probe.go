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
	"net/netip"
	"time"

	"github.com/detnet/detnet/workload"
)

// Session is one path to measure.
type Session struct {
	ID       string // unique within a Sender
	Number   uint32 // that its owner knows it by besides; 0: none
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
	// Late is from when on packets are late; NodeSession the ID of another session that
	// is to be sent faster with this one when they are.
	Late        Late
	NodeSession string
	// Count is how many packets to send; zero means without end.
	Count uint64

	// SSID is the session identifier of STAMP (RFC 8972 §3), or the next one that
	// is free. Zero means one drawn at random, which nobody off the path knows.
	SSID uint16
	// Authenticated signs STAMP packets with Options.Handed, and takes signed
	// answers only. Where Options.Keys are given all sessions of STAMP are anyway.
	Authenticated bool
	Family        Family // of the addresses of a name
	// Local is where packets are sent from, Interface the name of the interface
	// that they leave by. Zero and "" leave it to the kernel. Not for TCP.
	Local     netip.AddrPort
	Interface string
	// Size is the length of the IP packets in octets; zero means as short as the
	// protocol allows. DontFragment has longer ones than a link takes dropped, not
	// cut up. TTL is their hop limit; zero means 255. Not for TCP.
	Size         int
	DontFragment bool
	TTL          uint8
}

// Family is a choice of IPv4 or IPv6.
type Family uint8

// The families.
const (
	AnyFamily Family = 0
	IPv4      Family = 4
	IPv6      Family = 6
)

// What a Session asks for where it says nothing, and how far it may go.
const (
	DefaultInterval = 20 * time.Millisecond
	DefaultTimeout  = time.Second
	MinInterval     = 500 * time.Microsecond
	MaxSize         = 65535
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
	case s.Host == "":
		return fmt.Errorf("session %q: no host to probe", s.ID)
	case s.ID == "":
		return errors.New("session without an id")
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
	return s.validatePath()
}

// validatePath reports what is impossible about how the packets are to leave.
func (s Session) validatePath() error {
	switch {
	case s.Size < 0 || s.Size > MaxSize:
		return fmt.Errorf("session %s: size %d must be from 0 to %d octets", s.ID, s.Size, MaxSize)
	case s.Protocol == workload.TCP && s.path() != (path{}):
		return fmt.Errorf("session %s: size, source address and port, interface and TTL are not for tcp", s.ID)
	case s.Protocol != workload.STAMP && s.Authenticated:
		return fmt.Errorf("session %s: authentication is for stamp, not for %s", s.ID, s.Protocol)
	case s.Protocol != workload.STAMP && s.SSID != 0:
		return fmt.Errorf("session %s: a session identifier is for stamp, not for %s", s.ID, s.Protocol)
	}
	if addr, err := netip.ParseAddr(s.Host); err == nil {
		if addr.Zone() != "" {
			if _, err := zoneIndex(addr.Zone()); err != nil {
				return fmt.Errorf("session %s: %w", s.ID, err)
			}
		}
		if addr.IsMulticast() || addr.Unmap() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return fmt.Errorf("session %s: %v is the address of many hosts, and no reflector answers packets to many", s.ID, addr)
		}
		if !s.Family.has(addr.Unmap()) {
			return fmt.Errorf("session %s: %v is no IPv%d address", s.ID, addr, s.Family)
		}
	}
	return nil
}

func (f Family) has(addr netip.Addr) bool {
	return f == AnyFamily || addr.Is4() == (f == IPv4)
}

// Sample is one probe packet: answered, or given up.
type Sample struct {
	Age  time.Duration // since it was sent
	RTT  time.Duration // without Stay; 0 if Lost
	Stay time.Duration // in which the reflector held it, by its own clock; 0: not known
	// Forward and Backward are one-way delays that contain the unknown offset
	// between the two clocks: only their variation means something. HasOneWay
	// says whether the reflector gave timestamps (RFC 8762) that are possible.
	Forward, Backward time.Duration
	// Queue is the time that the packet stood in this host's own queue
	// (TX_SOFTWARE − TX_SCHED), where HasQueue.
	Queue  time.Duration
	Number uint32 // of the packet, counted from the session's first, 0
	// Lost is final once the timeout is over. Before, it is said as soon as three
	// later packets were answered; if an answer comes nevertheless, the packet
	// comes once more, Corrected.
	Lost, Corrected     bool
	HasOneWay, HasQueue bool
}

// OpenError is why a session's packets cannot even be sent: this host lacks the
// address, port or interface, or they cannot be as short or as long.
type OpenError struct {
	Protocol workload.Protocol
	Err      error
}

// Error implements error.
func (e *OpenError) Error() string { return fmt.Sprintf("open the %s prober: %v", e.Protocol, e.Err) }

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }

// Totals count packets since a session began. Sent ≥ Received + Lost; the rest
// is in flight. A packet is Lost when its timeout is over; answered after that it
// is Late besides.
type Totals struct {
	Sent, Received, Lost, Duplicated, Reordered, Late uint64
}

// Loss is the ratio of lost packets among those whose fate is known, 0…1; false
// if there are none.
func (t Totals) Loss() (ratio float64, known bool) {
	if t.Lost+t.Received == 0 {
		return 0, false
	}
	return float64(t.Lost) / float64(t.Lost+t.Received), true
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

	Addr       netip.AddrPort // that Host was found to be
	SSID       uint16         // of STAMP
	Sending    time.Duration  // from the first packet to the newest
	Blind      time.Duration  // in which nothing could be measured, because of errors
	Impossible uint64         // answers whose reflector's times cannot be true
	Open       int            // packets that may still be answered in time
	// TTLs with which packets came to the reflector, as it says, and answers here;
	// 0: not known.
	TTLThere, TTLBack uint8
}

// Since is what r has gained beyond before, an earlier Result of the session.
func (r Result) Since(before Result) Result {
	a, b := &r.Totals, before.Totals
	*a = Totals{a.Sent - b.Sent, a.Received - b.Received, a.Lost - b.Lost, a.Duplicated - b.Duplicated, a.Reordered - b.Reordered, a.Late - b.Late}
	r.Sending -= before.Sending
	r.Blind -= before.Blind
	r.Impossible -= before.Impossible
	return r
}

// Rate is how many packets a second were sent; 0 before the second.
func (r Result) Rate() float64 {
	if r.Totals.Sent < 2 || r.Sending <= 0 {
		return 0
	}
	return float64(r.Totals.Sent-1) / r.Sending.Seconds()
}
