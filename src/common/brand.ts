declare const brand: unique symbol;

/**
 * A type of its own for numbers that mean one thing, at no cost at run time: a `Brand<number, 'TaskTag'>` is a number
 * wherever one is wanted, but a number is none. It is declared beside its vocabulary, and made where the wire is read.
 */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
