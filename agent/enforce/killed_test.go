package enforce

import (
	"bufio"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/bitrate"
)

const asVictim = "DETNET_TEST_ENFORCES"

// An agent that is killed while it changes limits, by SIGKILL and so without a
// word, leaves limits in force; the next one takes them over as they are.
func TestKilledWhileEnforcing(t *testing.T) {
	if os.Getenv(asVictim) != "" {
		enforceUntilKilled(t)
		return
	}
	n := newNode(t)
	victim := exec.Command(os.Args[0], "-test.run=^TestKilledWhileEnforcing$")
	victim.Env = append(os.Environ(), asVictim+"=1")
	fd, err := unix.FcntlInt(uintptr(n.host.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	host := os.NewFile(uintptr(fd), "host")
	defer host.Close()
	victim.ExtraFiles = []*os.File{host}
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for enforced := 0; enforced < 5; enforced++ {
		if !lines.Scan() {
			t.Fatalf("it ended by itself: %v", victim.Wait())
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // killed

	if len(n.buckets(t)) != 2 || !n.redirected(t) {
		t.Fatalf("the limits went with the agent: %v", n.buckets(t))
	}
	before, err := n.host.LinkByName(ifbName("uid-1"))
	if err != nil {
		t.Fatal(err)
	}
	n.list[0].Egress, n.list[0].Ingress = "80M", "40M"
	n.enforcer.reconcile(true)
	after, err := n.host.LinkByName(ifbName("uid-1"))
	if err != nil || after.Attrs().Index != before.Attrs().Index {
		t.Errorf("the ifb was made anew: %v", err)
	}
	if e := n.enforcer.Enforced("uid-1"); e.Egress != 80*bitrate.Mbit || e.Ingress != 40*bitrate.Mbit {
		t.Errorf("Enforced = %+v", e)
	}
}

// enforceUntilKilled is the agent that is killed: it changes the limits of the
// pod again and again, in the namespace that it was given as a file.
func enforceUntilKilled(t *testing.T) {
	runtime.LockOSThread() // the thread ends with the process
	if err := netns.Set(netns.NsHandle(3)); err != nil {
		t.Fatal(err)
	}
	n := &node{list: []pods.Pod{{Namespace: "ns", Name: "pod", UID: "uid-1", IPs: []netip.Addr{netip.MustParseAddr("10.88.0.2")}}}}
	var err error
	if n.enforcer, err = New(n, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		n.annotate(fmt.Sprintf("%dM", 100+i%10), fmt.Sprintf("%dM", 50+i%10))
		if _, err := fmt.Println("enforced"); err != nil {
			return // the test has gone
		}
	}
}
