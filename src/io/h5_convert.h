/* h5_convert.h - numbers of a file's type into memory's, without the HDF5 library: for threads. */
#ifndef CPT_IO_H5_CONVERT_H
#define CPT_IO_H5_CONVERT_H

#include <hdf5.h>
#include <stdbool.h>

typedef enum h5_number {
    H5_NO_NUMBER, H5_I8, H5_U8, H5_I16, H5_U16, H5_I32, H5_U32, H5_I64, H5_U64, H5_F32, H5_F64
} h5_number;

/* H5_NO_NUMBER for anything but this machine's own integers and floats. Calls the library. */
h5_number h5_number_of(hid_t type);

/* Is there a conversion? To I32, I64 (from integers), F32 and F64 (from anything). */
bool h5_converts(h5_number from, h5_number to);
/* n numbers; what does not fit saturates, as H5Tconvert does. In and out must not overlap. */
void h5_convert(h5_number from, h5_number to, const void *in, size_t n, void *out);

#endif
