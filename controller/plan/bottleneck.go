package plan

import (
	"cmp"
	"fmt"
	"strings"
)

// Bottleneck is what senders share: the uplink of a node, or the Cluster. The
// zero value is none. As text it is "node/worker-1" or "cluster".
type Bottleneck struct {
	Node  string // whose uplink; "" for the cluster
	Whole bool   // the cluster
}

// Cluster is what all senders share, such as the downlink of one that all send to.
var Cluster = Bottleneck{Whole: true}

// Uplink is what the senders of a node share.
func Uplink(node string) Bottleneck { return Bottleneck{Node: node} }

const (
	clusterText  = "cluster"
	uplinkPrefix = "node/"
)

func (b Bottleneck) String() string {
	switch {
	case b.Whole:
		return clusterText
	case b.Node == "":
		return ""
	}
	return uplinkPrefix + b.Node
}

// Compare orders uplinks by node, and the cluster last.
func (b Bottleneck) Compare(c Bottleneck) int {
	if b.Whole != c.Whole {
		if b.Whole {
			return 1
		}
		return -1
	}
	return cmp.Compare(b.Node, c.Node)
}

// MarshalText is for JSON.
func (b Bottleneck) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (b *Bottleneck) UnmarshalText(text []byte) error {
	switch node, isNode := strings.CutPrefix(string(text), uplinkPrefix); {
	case len(text) == 0:
		*b = Bottleneck{}
	case isNode && node != "":
		*b = Uplink(node)
	case string(text) == clusterText:
		*b = Cluster
	default:
		return fmt.Errorf("bottleneck %q: must be %s or %s and a node's name", text, clusterText, uplinkPrefix)
	}
	return nil
}
