package main

// nearest returns the one of names that somebody who typed word most likely
// meant, or "" if none is close.
func nearest(word string, names []string) string {
	best, bestAt := "", max(1, len(word)/3)+1
	for _, n := range names {
		if d := edits(word, n); d < bestAt {
			best, bestAt = n, d
		}
	}
	return best
}

// edits returns how many single letters must be added, removed, changed or
// swapped with their neighbour to make b of a.
func edits(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur, prev, before := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
