package sandbox

import (
	"context"
	"fmt"

	crds "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/client/crds/v2"
)

// ApplyCiliumCRDs gives the cluster the CiliumNetworkPolicy and
// CiliumClusterwideNetworkPolicy kinds of Cilium v1.20, whose agent does not
// run here: objects are validated by their schema and then do nothing.
func (c *Cluster) ApplyCiliumCRDs(ctx context.Context) error {
	for _, file := range []string{"ciliumnetworkpolicies.yaml", "ciliumclusterwidenetworkpolicies.yaml"} {
		manifest, err := crds.EmbedFS.ReadFile(file)
		if err != nil {
			return fmt.Errorf("find Cilium's %s: %w", file, err)
		}
		if err := c.Apply(ctx, string(manifest)); err != nil {
			return fmt.Errorf("apply Cilium's %s: %w", file, err)
		}
	}
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=2m",
		"crd/ciliumnetworkpolicies.cilium.io", "crd/ciliumclusterwidenetworkpolicies.cilium.io")
	return err
}
