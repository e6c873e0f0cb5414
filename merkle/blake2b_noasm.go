//go:build !amd64 || purego

package merkle

var haveLanes = false

func compress8(*[8][lanes]uint64, *[lanes]*byte, int, uint64, uint64) {
	panic("internal error: no vector code")
}
