//go:build !purego

#include "textflag.h"

// Eight Blake2b states side by side: lane l of a 512-bit register belongs to
// message l. Z0 to Z15 are the working vector v[0] to v[15] of RFC 7693,
// Z16 to Z31 the message words m[0] to m[15]. That is all registers, and the
// mixing function needs no other: AVX-512 rotates in one instruction.

// MIX is four independent mixing functions G, interleaved.
#define MIX(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, x0, x1, x2, x3, y0, y1, y2, y3) \
	VPADDQ a0, x0, a0; VPADDQ a1, x1, a1; VPADDQ a2, x2, a2; VPADDQ a3, x3, a3; \
	VPADDQ a0, b0, a0; VPADDQ a1, b1, a1; VPADDQ a2, b2, a2; VPADDQ a3, b3, a3; \
	VPXORQ d0, a0, d0; VPXORQ d1, a1, d1; VPXORQ d2, a2, d2; VPXORQ d3, a3, d3; \
	VPRORQ $32, d0, d0; VPRORQ $32, d1, d1; VPRORQ $32, d2, d2; VPRORQ $32, d3, d3; \
	VPADDQ c0, d0, c0; VPADDQ c1, d1, c1; VPADDQ c2, d2, c2; VPADDQ c3, d3, c3; \
	VPXORQ b0, c0, b0; VPXORQ b1, c1, b1; VPXORQ b2, c2, b2; VPXORQ b3, c3, b3; \
	VPRORQ $24, b0, b0; VPRORQ $24, b1, b1; VPRORQ $24, b2, b2; VPRORQ $24, b3, b3; \
	VPADDQ a0, y0, a0; VPADDQ a1, y1, a1; VPADDQ a2, y2, a2; VPADDQ a3, y3, a3; \
	VPADDQ a0, b0, a0; VPADDQ a1, b1, a1; VPADDQ a2, b2, a2; VPADDQ a3, b3, a3; \
	VPXORQ d0, a0, d0; VPXORQ d1, a1, d1; VPXORQ d2, a2, d2; VPXORQ d3, a3, d3; \
	VPRORQ $16, d0, d0; VPRORQ $16, d1, d1; VPRORQ $16, d2, d2; VPRORQ $16, d3, d3; \
	VPADDQ c0, d0, c0; VPADDQ c1, d1, c1; VPADDQ c2, d2, c2; VPADDQ c3, d3, c3; \
	VPXORQ b0, c0, b0; VPXORQ b1, c1, b1; VPXORQ b2, c2, b2; VPXORQ b3, c3, b3; \
	VPRORQ $63, b0, b0; VPRORQ $63, b1, b1; VPRORQ $63, b2, b2; VPRORQ $63, b3, b3

// ROUND mixes columns, then diagonals, with the words in the order of SIGMA.
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
	MIX(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, s0, s2, s4, s6, s1, s3, s5, s7); \
	MIX(Z0, Z1, Z2, Z3, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14, s8, s10, s12, s14, s9, s11, s13, s15)

// TRANSPOSE loads 64 bytes at offset off of each message and sets m0 to m7 to
// their words, one lane for each message. It uses Z0 to Z15.
#define TRANSPOSE(off, m0, m1, m2, m3, m4, m5, m6, m7) \
	VMOVDQU64 off(R8), Z0; \
	VMOVDQU64 off(R9), Z1; \
	VMOVDQU64 off(R10), Z2; \
	VMOVDQU64 off(R11), Z3; \
	VMOVDQU64 off(R12), Z4; \
	VMOVDQU64 off(R13), Z5; \
	VMOVDQU64 off(BX), Z6; \
	VMOVDQU64 off(CX), Z7; \
	VPUNPCKLQDQ Z1, Z0, Z8; \
	VPUNPCKHQDQ Z1, Z0, Z9; \
	VPUNPCKLQDQ Z3, Z2, Z10; \
	VPUNPCKHQDQ Z3, Z2, Z11; \
	VPUNPCKLQDQ Z5, Z4, Z12; \
	VPUNPCKHQDQ Z5, Z4, Z13; \
	VPUNPCKLQDQ Z7, Z6, Z14; \
	VPUNPCKHQDQ Z7, Z6, Z15; \
	VSHUFI64X2 $0x88, Z10, Z8, Z0; \
	VSHUFI64X2 $0xDD, Z10, Z8, Z1; \
	VSHUFI64X2 $0x88, Z14, Z12, Z2; \
	VSHUFI64X2 $0xDD, Z14, Z12, Z3; \
	VSHUFI64X2 $0x88, Z11, Z9, Z4; \
	VSHUFI64X2 $0xDD, Z11, Z9, Z5; \
	VSHUFI64X2 $0x88, Z15, Z13, Z6; \
	VSHUFI64X2 $0xDD, Z15, Z13, Z7; \
	VSHUFI64X2 $0x88, Z2, Z0, m0; \
	VSHUFI64X2 $0xDD, Z2, Z0, m4; \
	VSHUFI64X2 $0x88, Z3, Z1, m2; \
	VSHUFI64X2 $0xDD, Z3, Z1, m6; \
	VSHUFI64X2 $0x88, Z6, Z4, m1; \
	VSHUFI64X2 $0xDD, Z6, Z4, m5; \
	VSHUFI64X2 $0x88, Z7, Z5, m3; \
	VSHUFI64X2 $0xDD, Z7, Z5, m7

DATA iv<>+0(SB)/8, $0x6a09e667f3bcc908
DATA iv<>+8(SB)/8, $0xbb67ae8584caa73b
DATA iv<>+16(SB)/8, $0x3c6ef372fe94f82b
DATA iv<>+24(SB)/8, $0xa54ff53a5f1d36f1
DATA iv<>+32(SB)/8, $0x510e527fade682d1
DATA iv<>+40(SB)/8, $0x9b05688c2b3e6c1f
DATA iv<>+48(SB)/8, $0x1f83d9abfb41bd6b
DATA iv<>+56(SB)/8, $0x5be0cd19137e2179
GLOBL iv<>(SB), RODATA|NOPTR, $64

// func compress8(h *[8][8]uint64, messages *[8]*byte, blocks int, counter, last uint64)
TEXT ·compress8(SB), NOSPLIT, $0-40
	MOVQ h+0(FP), DI
	MOVQ messages+8(FP), SI
	MOVQ blocks+16(FP), DX
	MOVQ counter+24(FP), AX
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	MOVQ 32(SI), R12
	MOVQ 40(SI), R13
	MOVQ 48(SI), BX
	MOVQ 56(SI), CX
	MOVQ last+32(FP), SI

block:
	TRANSPOSE(0, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23)
	TRANSPOSE(64, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31)

	VPBROADCASTQ AX, Z0
	VPBROADCASTQ SI, Z1
	VPBROADCASTQ iv<>+0(SB), Z8
	VPBROADCASTQ iv<>+8(SB), Z9
	VPBROADCASTQ iv<>+16(SB), Z10
	VPBROADCASTQ iv<>+24(SB), Z11
	VPBROADCASTQ iv<>+32(SB), Z12
	VPBROADCASTQ iv<>+40(SB), Z13
	VPBROADCASTQ iv<>+48(SB), Z14
	VPBROADCASTQ iv<>+56(SB), Z15
	VPXORQ Z0, Z12, Z12
	VPXORQ Z1, Z14, Z14
	VMOVDQU64 0(DI), Z0
	VMOVDQU64 64(DI), Z1
	VMOVDQU64 128(DI), Z2
	VMOVDQU64 192(DI), Z3
	VMOVDQU64 256(DI), Z4
	VMOVDQU64 320(DI), Z5
	VMOVDQU64 384(DI), Z6
	VMOVDQU64 448(DI), Z7

	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31)
	ROUND(Z30, Z26, Z20, Z24, Z25, Z31, Z29, Z22, Z17, Z28, Z16, Z18, Z27, Z23, Z21, Z19)
	ROUND(Z27, Z24, Z28, Z16, Z21, Z18, Z31, Z29, Z26, Z30, Z19, Z22, Z23, Z17, Z25, Z20)
	ROUND(Z23, Z25, Z19, Z17, Z29, Z28, Z27, Z30, Z18, Z22, Z21, Z26, Z20, Z16, Z31, Z24)
	ROUND(Z25, Z16, Z21, Z23, Z18, Z20, Z26, Z31, Z30, Z17, Z27, Z28, Z22, Z24, Z19, Z29)
	ROUND(Z18, Z28, Z22, Z26, Z16, Z27, Z24, Z19, Z20, Z29, Z23, Z21, Z31, Z30, Z17, Z25)
	ROUND(Z28, Z21, Z17, Z31, Z30, Z29, Z20, Z26, Z16, Z23, Z22, Z19, Z25, Z18, Z24, Z27)
	ROUND(Z29, Z27, Z23, Z30, Z28, Z17, Z19, Z25, Z21, Z16, Z31, Z20, Z24, Z22, Z18, Z26)
	ROUND(Z22, Z31, Z30, Z25, Z27, Z19, Z16, Z24, Z28, Z18, Z29, Z23, Z17, Z20, Z26, Z21)
	ROUND(Z26, Z18, Z24, Z20, Z23, Z22, Z17, Z21, Z31, Z27, Z25, Z30, Z19, Z28, Z29, Z16)
	ROUND(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31)
	ROUND(Z30, Z26, Z20, Z24, Z25, Z31, Z29, Z22, Z17, Z28, Z16, Z18, Z27, Z23, Z21, Z19)

	VPXORQ Z8, Z0, Z0
	VPXORQ Z9, Z1, Z1
	VPXORQ Z10, Z2, Z2
	VPXORQ Z11, Z3, Z3
	VPXORQ Z12, Z4, Z4
	VPXORQ Z13, Z5, Z5
	VPXORQ Z14, Z6, Z6
	VPXORQ Z15, Z7, Z7
	VPXORQ 0(DI), Z0, Z0
	VPXORQ 64(DI), Z1, Z1
	VPXORQ 128(DI), Z2, Z2
	VPXORQ 192(DI), Z3, Z3
	VPXORQ 256(DI), Z4, Z4
	VPXORQ 320(DI), Z5, Z5
	VPXORQ 384(DI), Z6, Z6
	VPXORQ 448(DI), Z7, Z7
	VMOVDQU64 Z0, 0(DI)
	VMOVDQU64 Z1, 64(DI)
	VMOVDQU64 Z2, 128(DI)
	VMOVDQU64 Z3, 192(DI)
	VMOVDQU64 Z4, 256(DI)
	VMOVDQU64 Z5, 320(DI)
	VMOVDQU64 Z6, 384(DI)
	VMOVDQU64 Z7, 448(DI)

	ADDQ $128, R8
	ADDQ $128, R9
	ADDQ $128, R10
	ADDQ $128, R11
	ADDQ $128, R12
	ADDQ $128, R13
	ADDQ $128, BX
	ADDQ $128, CX
	ADDQ $128, AX
	DECQ DX
	JNZ  block

	VZEROUPPER
	RET
