package probe

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// refusal is why a reflector does not answer a packet.
type refusal uint8

const (
	accepted refusal = iota
	malformed
	badSource
	badPort
	overRate
	unauthenticated
	isAnswer
	toMany
	looping
	refusals
)

var refusalNames = [refusals]string{"", "malformed", "source", "port", "rate", "unauthenticated", "answer", "broadcast", "loop"}

var refusalAdvice = [refusals]string{
	malformed:       "too short for a test packet: another protocol, or a plain echo is wanted (-p udp)",
	badSource:       "from an address outside of --allow",
	badPort:         "from a port below --min-source-port, or this reflector's own: forged to make two answer each other, or a sender with a fixed port",
	overRate:        "more than --source-rate from one address",
	unauthenticated: "no HMAC, or one by another key: compare the key files",
	isAnswer:        "what a reflector wrote: forged to make two answer each other",
	toMany:          "sent to a broadcast or multicast address",
	looping:         "the same datagram again and again: two echoes that answer each other",
}

// ReflectorStats is what became of the packets that a reflector received.
type ReflectorStats struct {
	Answered uint64
	Dropped  []Dropped // every reason, zeros included
}

// Dropped is how many packets were not answered for one reason.
type Dropped struct {
	Reason  string
	Packets uint64
	Advice  string // what it means for whoever runs the reflector
}

// Total is how many packets were not answered.
func (s ReflectorStats) Total() (n uint64) {
	for _, d := range s.Dropped {
		n += d.Packets
	}
	return n
}

// ledger counts packets; it implements prometheus.Collector.
type ledger struct {
	answered atomic.Uint64
	dropped  [refusals]atomic.Uint64
}

func (l *ledger) stats() ReflectorStats {
	s := ReflectorStats{Answered: l.answered.Load()}
	for why := accepted + 1; why < refusals; why++ {
		s.Dropped = append(s.Dropped, Dropped{refusalNames[why], l.dropped[why].Load(), refusalAdvice[why]})
	}
	return s
}

var (
	answeredDesc = prometheus.NewDesc("detnet_reflector_packets_total", "Test packets answered.", nil, nil)
	droppedDesc  = prometheus.NewDesc("detnet_reflector_dropped_packets_total", "Packets not answered, by reason.", []string{"reason"}, nil)
)

// Describe implements prometheus.Collector.
func (l *ledger) Describe(out chan<- *prometheus.Desc) {
	out <- answeredDesc
	out <- droppedDesc
}

// Collect implements prometheus.Collector.
func (l *ledger) Collect(out chan<- prometheus.Metric) {
	s := l.stats()
	out <- prometheus.MustNewConstMetric(answeredDesc, prometheus.CounterValue, float64(s.Answered))
	for _, d := range s.Dropped {
		out <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(d.Packets), d.Reason)
	}
}
