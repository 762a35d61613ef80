package uplink

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/bitrate"
)

// What has a default route is an uplink, with the queue that the kernel has
// there and the speed that its driver says.
func TestRead(t *testing.T) {
	near, far := nstest.New(t), nstest.New(t)
	nstest.Veth(t, near, "up0", "10.98.0.1/24", far, "far0", "10.98.0.2/24")
	nstest.Veth(t, near, "pod0", "10.98.1.1/24", far, "far1", "10.98.1.2/24")
	sys := t.TempDir()
	for name, text := range map[string]string{"up0": "10000\n", "pod0": "10000\n"} {
		if err := os.MkdirAll(filepath.Join(sys, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sys, name, "speed"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func(want ...Uplink) {
		t.Helper()
		got, err := Read(near.Handle, sys)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	read()
	near.Route(t, "0.0.0.0/0", "up0", "10.98.0.2")
	read(Uplink{"up0", "noqueue", 10 * bitrate.Gbit})
	link, err := near.LinkByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
	if err := near.QdiscReplace(&netlink.Tbf{QdiscAttrs: attrs, Rate: 1e6, Limit: 1e6, Buffer: 1e6}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sys, "up0", "speed"), []byte("-1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	read(Uplink{"up0", "tbf", 0})
}

func TestQueueOf(t *testing.T) {
	at := func(parent uint32) netlink.QdiscAttrs { return netlink.QdiscAttrs{Parent: parent} }
	kind := func(name string, parent uint32) netlink.Qdisc {
		return &netlink.GenericQdisc{QdiscAttrs: at(parent), QdiscType: name}
	}
	for want, queues := range map[string][]netlink.Qdisc{
		"":           nil,
		"fq":         {kind("fq", netlink.HANDLE_ROOT), kind("clsact", netlink.HANDLE_CLSACT)},
		"mq/fq":      {kind("mq", netlink.HANDLE_ROOT), kind("fq", 0x10001), kind("fq", 0x10002), kind("clsact", netlink.HANDLE_CLSACT)},
		"mq/several": {kind("mq", netlink.HANDLE_ROOT), kind("fq", 0x10001), kind("fq_codel", 0x10002)},
		"tbf":        {kind("tbf", netlink.HANDLE_ROOT), kind("fq", 0x10001)},
	} {
		if got := queueOf(queues); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
