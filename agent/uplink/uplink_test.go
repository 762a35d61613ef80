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
	link, err := near.LinkByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	index := link.Attrs().Index
	read(Uplink{"up0", "noqueue", 0, index}) // a veth's 10 Gbit/s is nobody's
	attrs := netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
	if err := near.QdiscReplace(&netlink.Tbf{QdiscAttrs: attrs, Rate: 1e6, Limit: 1e6, Buffer: 1e6}); err != nil {
		t.Fatal(err)
	}
	read(Uplink{"up0", "tbf", 0, index})
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

// A speed counts where there is a link that has it.
func TestSpeed(t *testing.T) {
	for _, tt := range []struct {
		kind, driver, text string
		want               bitrate.Rate
	}{
		{"device", "ixgbe", "10000\n", 10 * bitrate.Gbit},
		{"device", "igb", "-1\n", 0},
		{"device", "igb", "fast\n", 0},
		{"device", "igb", "99999999999\n", 0},
		{"device", "", "", 0},
		{"device", "virtio_net", "1000\n", 0},
		{"device", "vmxnet3", "10000\n", 0},
		{"bond", "", "2000\n", 2 * bitrate.Gbit},
		{"vlan", "", "1000\n", bitrate.Gbit},
		{"veth", "", "10000\n", 0},
		{"tuntap", "", "10\n", 0},
		{"bridge", "", "10000\n", 0},
	} {
		dir := t.TempDir()
		if tt.driver != "" {
			if err := os.MkdirAll(filepath.Join(dir, "device"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../../bus/drivers/"+tt.driver, filepath.Join(dir, "device", "driver")); err != nil {
				t.Fatal(err)
			}
		}
		if tt.text != "" {
			if err := os.WriteFile(filepath.Join(dir, "speed"), []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := speed(tt.kind, dir); got != tt.want {
			t.Errorf("%s of %s that says %q: %v, want %v", tt.kind, tt.driver, tt.text, got, tt.want)
		}
	}
}
