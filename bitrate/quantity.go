package bitrate

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
)

// What kubelet, the container runtimes and the CNI bandwidth plugin take for a
// bandwidth annotation (validateBandwidthIsReasonable): from 1 kbit/s to 1 Pbit/s.
const (
	LeastLimit = 1 * Kbit
	MostLimit  = 1_000_000 * Gbit
)

// ParseLimit reads a bandwidth annotation of a pod exactly as kubelet and the CNI
// bandwidth plugin do: any resource.Quantity from LeastLimit to MostLimit, part
// bits rounded up. Somebody's own limit may lie outside [Min, Max], and must not
// become a higher one for that.
func ParseLimit(s string) (Rate, error) { return parse(s, LeastLimit, MostLimit) }

// grammar is that of k8s.io/apimachinery/pkg/api/resource.Quantity, which the
// tests compare it with. The package itself has more imports than the agent's
// bar and the pure packages allow.
var grammar = regexp.MustCompile(`^([+-]?)([0-9]*)(?:\.([0-9]*))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?0*[0-9]{1,3}))?$`)

// maxText is more than anybody writes, and bounds the arithmetic.
const maxText = 256

// powers are the exponents behind the suffixes: of ten, and of two.
var (
	ten = map[string]int{"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
	two = map[string]uint{"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
)

func parse(s string, least, most Rate) (Rate, error) {
	parts := grammar.FindStringSubmatch(s)
	if s == "" || len(s) > maxText || parts == nil || parts[2]+parts[3] == "" {
		return 0, fmt.Errorf("rate %.40q is not a quantity: want a number of bit/s with an optional suffix k, M, G, T, Ki, Mi or Gi, such as 100M", s)
	}
	exponent := ten[parts[4]]
	if parts[5] != "" {
		exponent, _ = strconv.Atoi(parts[5]) // at most three digits that count
	}
	bits, _ := new(big.Int).SetString("0"+parts[2]+parts[3], 10)
	bits.Lsh(bits, two[parts[4]])
	shift := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(abs(exponent-len(parts[3])))), nil)
	if exponent >= len(parts[3]) {
		bits.Mul(bits, shift)
	} else {
		bits.Add(bits, shift).Sub(bits, big.NewInt(1)).Div(bits, shift) // rounded up
	}
	if parts[1] == "-" || bits.Cmp(big.NewInt(int64(least))) < 0 || bits.Cmp(big.NewInt(int64(most))) > 0 {
		return 0, fmt.Errorf("rate %.40q: %w: must be from %v to %v", s, ErrRange, least, most)
	}
	return Rate(bits.Int64()), nil
}

func abs(n int) int { return max(n, -n) }
