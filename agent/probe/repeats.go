package probe

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// repeats finds datagrams that go round between two plain echoes, which nothing
// but their sameness betrays. Its memory is fixed; two datagrams that share a
// place forget each other, which ends no exchange that is none.
type repeats struct {
	seed   maphash.Seed
	places []repeated
}

type repeated struct {
	datagram uint64 // hash of source and contents
	since    int64  // Unix time, s
	times    int
}

const (
	repeatPlaces  = 4096
	repeatsSecond = 4 // how often a second the same datagram may come from one source
)

func newRepeats() repeats { return repeats{seed: maphash.MakeSeed()} }

// again reports whether data came from this source too often within a second.
func (r *repeats) again(from netip.AddrPort, data []byte, now time.Time) bool {
	if r.places == nil {
		r.places = make([]repeated, repeatPlaces)
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	addr := from.Addr().As16()
	h.Write(addr[:])
	h.WriteByte(byte(from.Port() >> 8))
	h.WriteByte(byte(from.Port()))
	h.Write(data)
	sum, second := h.Sum64(), now.Unix()
	place := &r.places[sum%repeatPlaces]
	if place.datagram != sum || place.since != second {
		*place = repeated{datagram: sum, since: second}
	}
	place.times++
	return place.times > repeatsSecond
}
