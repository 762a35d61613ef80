package quantile

import (
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestNearestRank(t *testing.T) {
	to := func(n int) []int {
		values := make([]int, n)
		for i := range values {
			values[i] = i + 1
		}
		return values
	}
	for _, tt := range []struct {
		n    int
		q    float64
		want int
	}{
		{100, 0, 1}, {100, 0.5, 50}, {100, 0.9, 90}, {100, 0.95, 95}, {100, 0.99, 99}, {100, 0.999, 100}, {100, 1, 100},
		{5, 0.05, 1}, {5, 0.3, 2}, {5, 0.4, 2}, {5, 0.5, 3}, {5, 1, 5},
		{1, 0, 1}, {1, 0.5, 1}, {1, 1, 1},
		{2, 0.5, 1}, {10, 0.9, 9}, {1000, 0.999, 999}, {0, 0.5, 0},
	} {
		if got := Of(to(tt.n), tt.q); got != tt.want {
			t.Errorf("of 1…%d the %v-quantile is %d, want %d", tt.n, tt.q, got, tt.want)
		}
	}
}

// Upper differs from Of only where a whole number of values is below.
func TestUpper(t *testing.T) {
	for _, tt := range []struct {
		n    int
		q    float64
		want int
	}{{0, 0.5, 0}, {1, 0.5, 1}, {2, 0.5, 2}, {3, 0.5, 2}, {4, 0.5, 3}, {4, 0.25, 2}, {13, 0.25, 4}, {12, 0.25, 4}, {10, 1, 10}, {100, 0.07, 8}} {
		values := make([]int, tt.n)
		for i := range values {
			values[i] = i + 1
		}
		if got := Upper(values, tt.q); got != tt.want {
			t.Errorf("of 1…%d the upper %v-quantile is %d, want %d", tt.n, tt.q, got, tt.want)
		}
	}
}

// Where the product is whole in decimal it is whole here, whatever the binary
// fraction says.
func TestWholeProducts(t *testing.T) {
	for n := 1; n <= 1000; n++ {
		values := make([]int, n)
		for i := range values {
			values[i] = i + 1
		}
		for permille := int64(1); permille <= 1000; permille++ {
			exact := new(big.Rat).SetFrac64(permille*int64(n), 1000)
			want := new(big.Int).Quo(new(big.Int).Add(exact.Num(), new(big.Int).Sub(exact.Denom(), big.NewInt(1))), exact.Denom())
			if got := Of(values, float64(permille)/1000); int64(got) != want.Int64() {
				t.Fatalf("of 1…%d the %d/1000-quantile is %d, want %v", n, permille, got, want)
			}
		}
	}
}

// Select says what Of says of the same values in order, and loses none of them.
func TestSelect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(-20, 20), 0, 200).Draw(t, "values")
		if rapid.Bool().Draw(t, "in order") {
			slices.Sort(values)
		}
		q := float64(rapid.IntRange(0, 1000).Draw(t, "permille")) / 1000
		ascending := slices.Sorted(slices.Values(values))
		if got, want := Select(values, q), Of(ascending, q); got != want {
			t.Fatalf("the %v-quantile is %d, want %d", q, got, want)
		}
		if slices.Sort(values); !slices.Equal(values, ascending) {
			t.Fatalf("values became %v, were %v", values, ascending)
		}
	})
}
