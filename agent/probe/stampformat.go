package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/probe/stamp"
)

// stampFormat is the format of STAMP's session-sender. The session's number is
// the SSID, so one port serves all sessions.
type stampFormat struct {
	keys    *Keyring // nil: unauthenticated
	ext     Extensions
	length  int
	padding int // octets of the padding TLV with its header; 0: there is none
	ptp     bool
	clock   clockQuality
	now     []*stamp.Key
	wall    func() time.Time
}

func (s *Sender) newSTAMP(k kind) (prober, error) {
	keys := s.opts.Keys
	if keys == nil && k.signed {
		if keys = s.opts.Handed.Ring(); len(keys.Keys(time.Now())) == 0 {
			return nil, errors.New("no key was handed over")
		}
	}
	f := &stampFormat{keys: keys, ext: s.opts.Extensions, ptp: s.opts.PTP, wall: time.Now}
	f.length = stamp.Size
	var key *stamp.Key
	if f.keys != nil {
		key, f.length = f.keys.Keys(time.Now())[0], stamp.AuthSize
	}
	f.length += len(f.ext.append(nil, 0, key))
	if err := f.pad(k); err != nil {
		return nil, err
	}
	d, err := newDatagram(s, f, k, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return nil, err
	}
	d.checked = f.keys == nil
	if s.opts.Extensions.ClassOfService {
		receiveTOS(d.fd)
	}
	if s.opts.HopLimits {
		receiveTTL(d.fd)
	}
	return d, nil
}

// pad makes the packets as long as k wants them.
func (f *stampFormat) pad(k kind) error {
	if k.path.size == 0 {
		return nil
	}
	f.padding = payload(k.path.size, k.ipv6, udpHeader) - f.length
	if f.padding != 0 && f.padding < stamp.PaddingSize(0) {
		least := k.path.size - f.padding
		return fmt.Errorf("a packet of %d octets is too short: these sessions need %d, or %d and more",
			k.path.size, least, least+stamp.PaddingSize(0))
	}
	f.length += f.padding
	return nil
}

func (f *stampFormat) size() int { return f.length }

func (f *stampFormat) request(b []byte, number uint16, seq, transmitted uint32) {
	now := f.wall()
	estimate := f.clock.estimate(now, f.ptp)
	t := stamp.Test{Seq: seq, At: estimate.In(now.UnixNano()), Error: estimate, SSID: number}
	var key *stamp.Key
	if f.keys != nil {
		f.now = f.keys.Keys(now)
		key = f.now[0]
	}
	b = f.ext.append(t.AppendMarshal(b[:0], key), transmitted, key)
	if f.padding > 0 {
		stamp.AppendPadding(b, f.padding)
	}
}

func (f *stampFormat) reply(b []byte) (reply, Reason) {
	r, rest, err := stamp.ParseReflected(b, f.now)
	switch {
	case err != nil && f.keys != nil && len(b) < stamp.AuthSize && len(b) >= stamp.Size:
		return reply{}, Unsigned
	case stamp.IsAuth(err) && !stamp.IsSigned(b):
		return reply{}, Unsigned
	case stamp.IsAuth(err):
		return reply{}, WrongKey
	case err != nil:
		return reply{}, Short
	case r.Received == 0 && r.SenderAt == 0:
		return reply{}, PlainEcho // every reflector returns the sender's timestamp
	}
	out := reply{number: r.SSID, seq: r.SenderSeq, answer: r.Seq, ttl: r.SenderTTL}
	if r.Received != 0 && r.At != 0 {
		out.far, out.farReply = r.Received.Unix(r.Error), r.At.Unix(r.Error)
	}
	if f.ext.any() {
		out.heard = hear(b, rest, f.now)
	}
	return out, None
}

func (f *stampFormat) own(b []byte) (uint16, uint32, bool) {
	ssid := 14
	if f.keys != nil {
		ssid = 26
	}
	if len(b) < ssid+2 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b[ssid:]), binary.BigEndian.Uint32(b), true
}
