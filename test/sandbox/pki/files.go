package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/detnet/detnet/test/sandbox/instance"
)

// Names of the files in an instance's PKI folder. A pair is NAME.crt, NAME.key.
const (
	CAFile                = "ca.crt"
	APIServer             = "apiserver"
	KubeletClient         = "kubelet-client"
	ServiceAccountKeyFile = "service-account.key"
	ServiceAccountPubFile = "service-account.pub"
)

// Parts that have credentials of their own.
const (
	Admin             = "admin"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Proxy             = "kube-proxy"
)

// clients maps each part to its Kubernetes identity. The built-in RBAC roles
// and the Node authoriser know these names.
func clients(s *instance.Spec) map[string]Subject {
	cs := map[string]Subject{
		Admin:             {Name: "sandbox-admin", Groups: []string{"system:masters"}},
		ControllerManager: {Name: "system:kube-controller-manager"},
		Scheduler:         {Name: "system:kube-scheduler"},
		Proxy:             {Name: "system:kube-proxy"},
	}
	for _, n := range s.NodeNames() {
		cs[n] = Subject{Name: "system:node:" + n, Groups: []string{"system:nodes"}}
	}
	return cs
}

// Write fills the instance's PKI folder, and writes the administrator's
// kubeconfig for the host with s.APIServer as the address.
func Write(s *instance.Spec, now time.Time) error {
	if err := os.MkdirAll(s.PKI(), 0o700); err != nil {
		return fmt.Errorf("make the folder of keys: %w", err)
	}
	ca, err := NewAuthority("sandbox-"+s.Name, now)
	if err != nil {
		return fmt.Errorf("make a certificate authority: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.PKI(), CAFile), ca.Cert(), 0o600); err != nil {
		return err
	}
	for name, subject := range map[string]Subject{
		APIServer:     {Name: "kube-apiserver", Hosts: apiServerHosts(s)},
		KubeletClient: {Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
	} {
		pair, err := ca.Issue(subject, now)
		if err != nil {
			return err
		}
		if err := writePair(filepath.Join(s.PKI(), name), pair); err != nil {
			return err
		}
	}
	if err := writeServiceAccountKeys(s.PKI()); err != nil {
		return err
	}
	return writeKubeconfigs(s, ca, now)
}

func apiServerHosts(s *instance.Spec) []string {
	hosts := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1"}
	for _, f := range s.Families() {
		hosts = append(hosts, f.FabricIP().String(), f.ServiceIP().String())
	}
	return hosts
}

func writeKubeconfigs(s *instance.Spec, ca *Authority, now time.Time) error {
	inside := net.JoinHostPort(s.FabricIP().String(), strconv.Itoa(instance.APIPort))
	for part, subject := range clients(s) {
		pair, err := ca.Issue(subject, now)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(s.Credentials(part), inside, s.Name, ca.Cert(), pair); err != nil {
			return err
		}
		if part == Admin {
			if err := writeKubeconfig(s.Kubeconfig(), s.APIServer, s.Name, ca.Cert(), pair); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeKubeconfig(path, addr, name string, ca []byte, pair Pair) error {
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: "https://" + addr, CertificateAuthorityData: ca}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.Cert, ClientKeyData: pair.Key}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	c.CurrentContext = name
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	return nil
}

func writePair(path string, p Pair) error {
	if err := os.WriteFile(path+".crt", p.Cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".key", p.Key, 0o600)
}

// writeServiceAccountKeys makes the key that signs service account tokens.
func writeServiceAccountKeys(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ServiceAccountKeyFile), private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ServiceAccountPubFile), encode("PUBLIC KEY", der), 0o600)
}
