package machine

import (
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/pki"
)

//go:embed templates
var templates embed.FS

// files says where each template goes in the machine.
var files = map[string]string{
	"containerd.toml": "/etc/containerd/config.toml",
	"cni.conflist":    "/etc/cni/net.d/10-pods.conflist",
	"kubelet.yaml":    "/etc/kubernetes/kubelet.yaml",
	"kube-proxy.yaml": "/etc/kubernetes/kube-proxy.yaml",
}

// values are what the templates see.
type values struct {
	Node            string
	PauseImage      string
	CNIBin          string
	PodCIDRs        []netip.Prefix
	IPv6First       bool
	ClusterCIDR     string
	ClientCA        string
	ProxyKubeconfig string
}

// render returns the machine's configuration files by path.
func render(s *instance.Spec, i int) (map[string]string, error) {
	v := values{
		Node:            instance.NodeName(i),
		PauseImage:      assets.PauseImage,
		CNIBin:          s.Cache.CNI(),
		IPv6First:       s.IPv6First,
		ClusterCIDR:     instance.Addresses(s, func(f instance.Family) netip.Prefix { return f.Cluster }),
		ClientCA:        filepath.Join(s.PKI(), pki.CAFile),
		ProxyKubeconfig: s.Credentials(pki.Proxy),
	}
	for _, f := range s.Families() {
		v.PodCIDRs = append(v.PodCIDRs, f.PodCIDR(i))
	}
	rendered := map[string]string{}
	for name, path := range files {
		t, err := template.New(name+".tmpl").Option("missingkey=error").ParseFS(templates, "templates/"+name+".tmpl")
		if err != nil {
			return nil, fmt.Errorf("parse template %s: %w", name, err)
		}
		var text strings.Builder
		if err := t.Execute(&text, v); err != nil {
			return nil, fmt.Errorf("fill in template %s: %w", name, err)
		}
		rendered[path] = text.String()
	}
	return rendered, nil
}

// configure writes the configuration files. containerd reads the CNI
// configuration when it starts, so this comes first.
func configure(s *instance.Spec, i int) error {
	rendered, err := render(s, i)
	if err != nil {
		return err
	}
	for path, text := range rendered {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write a configuration file: %w", err)
		}
	}
	return nil
}
