package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/internal/plainfile"
)

type options struct {
	role, node, listen, tlsDir, metricsAddr, reflector, enforce string
	daemonSet, stampKeys, tcpClose, metricsClientCA             string
	controllerCA                                                string
	insecure                                                    bool
	reflecting                                                  probe.ReflectorOptions // what the flags say of it
}

// defaults of the addresses by role: role node shares the host's ports.
var defaults = map[string]struct{ listen, metrics string }{
	"probe": {":9443", ":8080"},
	"node":  {":9447", ":9448"},
}

// Flags implements program.Program.
func (o *options) Flags(f *flag.FlagSet) {
	f.StringVar(&o.role, "role", "", "probe (pod network: sends and reflects probes) or node (host network: reads counters, may enforce)")
	f.StringVar(&o.node, "node-name", os.Getenv("NODE_NAME"), "name of the node; NODE_NAME by default")
	f.StringVar(&o.listen, "listen", "", "address for controllers (default :9443 for probe, :9447 for node)")
	f.StringVar(&o.tlsDir, "tls-dir", "/etc/detnet/agent-tls", "directory with ca.crt, tls.crt and tls.key; empty, together with --insecure, means plaintext")
	f.StringVar(&o.controllerCA, "controller-ca-file", "", "file with the authorities (PEM) of the controllers, which alone may give orders; empty: whoever has a certificate of the authority in --tls-dir, as every agent has")
	f.BoolVar(&o.insecure, "insecure", false, "allow plaintext, for tests")
	f.StringVar(&o.metricsAddr, "metrics-addr", "", "address of /metrics, /healthz and /readyz (default :8080 for probe, :9448 for node)")
	f.StringVar(&o.metricsClientCA, "metrics-client-ca-file", "", "file with the authorities (PEM) of those who may read /metrics; the address is served over TLS then; empty: everybody may, in plain text")
	f.StringVar(&o.reflector, "reflector", "", "address of the session-reflector, such as :862; empty means none (role probe)")
	o.reflectorFlags(f)
	f.StringVar(&o.stampKeys, "stamp-key-file", "", "file with one or two secrets, each on a line, for STAMP's authenticated mode; the first signs")
	f.BoolVar(&o.reflecting.AuthOnly, "stamp-auth-only", false, "reflect authenticated packets only")
	f.StringVar(&o.tcpClose, "tcp-close", "reset", "how tcp probes end a connection: reset, or fin for apps that report resets (role probe)")
	f.StringVar(&o.enforce, "enforce", "off", "off, or tc where the CNI does not follow the bandwidth annotations of running pods (role node)")
	f.StringVar(&o.daemonSet, "daemonset", "", "NAMESPACE/NAME of this agent's DaemonSet: when it is gone as the agent ends, the limits are lifted; empty means they always stay")
}

// reflectorFlags are whom the reflector answers, and how.
func (o *options) reflectorFlags(f *flag.FlagSet) {
	r := &o.reflecting
	f.Float64Var(&r.Rate, "reflector-rate", probe.DefaultRate, "packets a second that the reflector answers one source address, or /64 of IPv6")
	f.Func("reflector-allow", "prefix, such as 10.0.0.0/8, or address that the reflector answers; may be repeated; none means all", func(text string) error {
		prefix, err := probe.ParseSources(text)
		r.Allow = append(r.Allow, prefix)
		return err
	})
	f.Func("reflector-min-source-port", fmt.Sprintf("lowest source port, from 1 to 65535, that the reflector answers; 1 also answers packets from its own port number (default %d)", probe.DefaultMinSourcePort), func(text string) error {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return errors.New("must be a port from 1 to 65535")
		}
		r.MinSourcePort = uint16(port)
		return nil
	})
	f.Func("reflector-reply-dscp", "codepoint, or all, that senders may order for the reflector's answers, besides 0 and that of their packets; may be repeated", func(text string) error {
		may, err := probe.ParseReplyDSCP(text)
		r.ReplyDSCP |= may
		return err
	})
}

// Check implements program.Program. It fills in what depends on the role.
func (o *options) Check() error {
	d, known := defaults[o.role]
	switch {
	case !known:
		return fmt.Errorf("--role=%q must be probe or node", o.role)
	case o.node == "":
		return errors.New("--node-name is missing and NODE_NAME is not set")
	case o.enforce != "off" && o.enforce != "tc":
		return fmt.Errorf("--enforce=%q must be off or tc", o.enforce)
	case o.enforce != "off" && o.role != "node":
		return errors.New("--enforce=tc needs --role=node")
	case o.reflecting.AuthOnly && o.stampKeys == "":
		return errors.New("--stamp-auth-only needs --stamp-key-file")
	case !(o.reflecting.Rate > 0):
		return fmt.Errorf("--reflector-rate=%v must be more than 0 packets a second", o.reflecting.Rate)
	case o.tcpClose != "reset" && o.tcpClose != "fin":
		return fmt.Errorf("--tcp-close=%q must be reset or fin", o.tcpClose)
	case o.tlsDir == "" && !o.insecure:
		return errors.New("an empty --tls-dir means plaintext and needs --insecure")
	case o.controllerCA != "" && o.tlsDir == "":
		return errors.New("--controller-ca-file needs the certificate in --tls-dir")
	case o.metricsClientCA != "" && o.tlsDir == "":
		return errors.New("--metrics-client-ca-file needs the certificate in --tls-dir")
	}
	if o.listen == "" {
		o.listen = d.listen
	}
	if o.metricsAddr == "" {
		o.metricsAddr = d.metrics
	}
	return plainfile.Flags(map[string]string{
		"--stamp-key-file": o.stampKeys, "--controller-ca-file": o.controllerCA, "--metrics-client-ca-file": o.metricsClientCA,
	})
}
