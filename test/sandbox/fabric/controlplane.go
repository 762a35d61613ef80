package fabric

import (
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/pki"
)

const etcdURL = "http://127.0.0.1:2379"

// Names of the control plane's programs.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

// anywhere is the address to listen at for connections of all of s's families.
func anywhere(s *instance.Spec) string {
	if s.FabricIP().Is6() {
		return "::"
	}
	return "0.0.0.0"
}

// arguments returns the flags of a control plane program.
func arguments(s *instance.Spec, program string) []string {
	key := func(name string) string { return filepath.Join(s.PKI(), name) }
	switch program {
	case Etcd:
		return []string{
			"--data-dir=" + filepath.Join(s.Disk(), "etcd"),
			"--unsafe-no-fsync", // on a memory file system there is nothing to sync
			"--log-level=error",
			"--listen-client-urls=" + etcdURL,
			"--advertise-client-urls=" + etcdURL,
			"--listen-peer-urls=http://127.0.0.1:2380",
		}
	case APIServer:
		return []string{
			"--etcd-servers=" + etcdURL,
			"--bind-address=" + anywhere(s),
			"--advertise-address=" + s.FabricIP().String(),
			"--secure-port=" + strconv.Itoa(instance.APIPort),
			"--cert-dir=" + filepath.Join(s.Disk(), "apiserver"),
			"--tls-cert-file=" + key(pki.APIServer+".crt"),
			"--tls-private-key-file=" + key(pki.APIServer+".key"),
			"--client-ca-file=" + key(pki.CAFile),
			"--kubelet-client-certificate=" + key(pki.KubeletClient+".crt"),
			"--kubelet-client-key=" + key(pki.KubeletClient+".key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--service-cluster-ip-range=" + instance.Addresses(s, func(f instance.Family) netip.Prefix { return f.Service }),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + key(pki.ServiceAccountPubFile),
			"--service-account-signing-key-file=" + key(pki.ServiceAccountKeyFile),
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			// No kube-proxy runs here: webhooks that are Services are called at
			// their pods' addresses.
			"--enable-aggregator-routing=true",
		}
	case ControllerManager:
		return []string{
			"--kubeconfig=" + s.Credentials(pki.ControllerManager),
			"--service-account-private-key-file=" + key(pki.ServiceAccountKeyFile),
			"--root-ca-file=" + key(pki.CAFile),
			"--use-service-account-credentials=true",
			"--bind-address=127.0.0.1",
			"--cert-dir=" + filepath.Join(s.Disk(), "controller-manager"),
			"--leader-elect=false",
			"--allocate-node-cidrs=false", // nodes are made with theirs
			// The default of 20 requests a second doubles the time to start up.
			"--kube-api-qps=500",
			"--kube-api-burst=1000",
		}
	case Scheduler:
		return []string{
			"--kubeconfig=" + s.Credentials(pki.Scheduler),
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
		}
	}
	return nil
}
