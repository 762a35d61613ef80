package probe

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/internal/await"
)

// A reflector that hangs, here since whom it tells of its keys does, is seen by
// the liveness probe; one that waits for packets is alive.
func TestReflectorHangs(t *testing.T) {
	l := newLab(t)
	keys, told := openKeys(t, oldSecret), make(chan struct{})
	keys.Refused = func(error) { <-told }
	watch := alive.New()
	port, _ := l.reflect(t, ReflectorOptions{Keys: keys, Turns: watch.Part("reflector", time.Millisecond)})
	time.Sleep(10 * time.Millisecond) // longer than a turn may take
	await.Until(t, "word of a reflector that only waits", func() bool { return watch.Check(nil) == nil })
	if err := os.Remove(keys.path); err != nil {
		t.Fatal(err)
	}
	packet := stamp.Test{Seq: 1, At: stamp.NTP(time.Now().UnixNano()), Error: 1}.AppendMarshal(nil, nil)
	l.sendFrom(t, 40000, netip.AddrPortFrom(netip.MustParseAddr("10.99.0.2"), port), packet)
	await.Until(t, "word of a reflector that hangs", func() bool { return watch.Check(nil) != nil })
	close(told)
	await.Until(t, "word of a reflector that goes on", func() bool { return watch.Check(nil) == nil })
}
