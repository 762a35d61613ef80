package workload

// Closest returns the one of words that word is probably a typing error for: at
// most two letters to add, drop or change (Levenshtein 1966). "" is none, or one
// of them.
func Closest(word string, words []string) string {
	const most = 2
	best, least := "", most+1
	for _, w := range words {
		if max(len(w)-len(word), len(word)-len(w)) > most {
			continue
		}
		if d := distance(word, w); d < least && d < len(word) {
			best, least = w, d
		}
	}
	if least == 0 {
		return ""
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
