"""TensorFlow operations by what they may do, as far as the gate before a SavedModel must know.

An operation is allowed when it computes from its inputs, or touches only variables, tables and
arrays that its own SavedModel makes: no files, network, processes, Python or console. Everything
else is refused unless the caller grants it; so an operation that is missing here is no danger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Calls of functions, which are followed; constants, arguments and control flow.
_CONTROL: Final = """
    Assert Case CheckNumerics CheckNumericsV2 Const ControlTrigger DeviceIndex Empty Enter Exit
    FakeParam GuaranteeConst Identity IdentityN If LoopCond MapDefun Merge NextIteration NoOp
    PartitionedCall Placeholder PlaceholderWithDefault StatefulPartitionedCall StatelessCase
    StatelessIf StatelessWhile Switch While
"""

# State: variables, tables and arrays of the model itself. Loading gives their names a new suffix,
# so they never meet those of another model.
_STATE: Final = """
    AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable
    AnonymousMutableHashTableOfTensors AssignAddVariableOp AssignSubVariableOp AssignVariableOp
    DestroyResourceOp DisableCopyOnRead HashTableV2 InitializeTableV2 LookupTableExportV2
    LookupTableFindV2 LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2
    LookupTableSizeV2 MutableDenseHashTableV2 MutableHashTableOfTensorsV2 MutableHashTableV2
    ReadVariableOp ResourceGather ResourceGatherNd TensorArrayCloseV3 TensorArrayConcatV3
    TensorArrayGatherV3 TensorArrayGradV3 TensorArrayReadV3 TensorArrayScatterV3
    TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 VarHandleOp
    VarIsInitializedOp VariableShape
"""

# Arithmetic, reductions, indexing and shapes.
_MATH_AND_ARRAYS: Final = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproxTopK ApproximateEqual ArgMax
    ArgMin Asin Asinh Atan Atan2 Atanh BandedTriangularSolve BatchMatMul BatchMatMulV2
    BatchMatMulV3 BatchToSpace BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0
    BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc Bincount Bitcast
    BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastGradientArgs BroadcastTo Bucketize
    Cast Ceil Cholesky CholeskyGrad ClipByValue Complex ComplexAbs ComputeAccidentalHits Concat
    ConcatOffset ConcatV2 Conj ConjugateTranspose Cos Cosh Cross Cumprod Cumsum
    CumulativeLogsumexp DataFormatDimMap DataFormatVecPermute Dawsn DenseBincount
    DenseToDenseSetOperation DepthToSpace Diag DiagPart Digamma Div DivNoNan DynamicPartition
    DynamicStitch Eig Einsum EnsureShape Equal Erf Erfc Erfinv EuclideanNorm Exp ExpandDims
    Expint Expm1 FFT FFT2D FFT3D FFTND Fill Floor FloorDiv FloorMod FresnelCos FresnelSin Gather
    GatherNd GatherV2 Greater GreaterEqual HistogramFixedWidth IFFT IFFT2D IFFT3D IFFTND IRFFT
    IRFFT2D IRFFT3D IRFFTND Igamma IgammaGradA Igammac Imag Inv InvGrad Invert InvertPermutation
    IsFinite IsInf IsNan IsotonicRegression KthOrderStatistic LeftShift Less LessEqual Lgamma
    LinSpace ListDiff Log Log1p LogMatrixDeterminant LogicalAnd LogicalNot LogicalOr LowerBound
    Lu MakeUnique MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart
    MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixLogarithm
    MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixSolveLs MatrixSquareRoot
    MatrixTriangularSolve Max Maximum Mean Min Minimum MirrorPad MirrorPadGrad Mod Mul MulNoNan
    Ndtri NearestNeighbors Neg NextAfter NotEqual NthElement OneHot OnesLike Pack Pad PadV2
    ParallelConcat ParallelDynamicStitch Polygamma PopulationCount Pow PreventGradient Prod Qr
    RFFT RFFT2D RFFT3D RFFTND Range Rank Real RealDiv Reciprocal ReciprocalGrad Reshape Reverse
    ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt RsqrtGrad ScatterNd
    ScatterNdNonAliasingAdd SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2
    SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 Select SelectV2 SelfAdjointEigV2 SetSize
    Shape ShapeN Sigmoid SigmoidGrad Sign Sin Sinh Size Slice Softplus SoftplusGrad Softsign
    SoftsignGrad SpaceToBatch SpaceToBatchND SpaceToDepth Spence Split SplitV Sqrt SqrtGrad
    Square SquaredDifference Squeeze StopGradient StridedSlice StridedSliceGrad Sub Sum Svd Tan
    Tanh TanhGrad TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate TensorStridedSliceUpdate Tile TopKUnique TopKV2 TopKWithUnique Transpose
    TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod Unique UniqueV2 UniqueWithCounts
    UniqueWithCountsV2 Unpack UnravelIndex UnsortedSegmentMax UnsortedSegmentMin
    UnsortedSegmentProd UnsortedSegmentSum UpperBound Where Xdivy Xlog1py Xlogy ZerosLike Zeta
"""

# Layers of neural networks and their derivatives.
_NETWORKS: Final = """
    AvgPool AvgPool3D AvgPool3DGrad AvgPoolGrad BiasAdd BiasAddGrad BiasAddV1 BlockLSTM
    BlockLSTMGrad BlockLSTMGradV2 BlockLSTMV2 CTCBeamSearchDecoder CTCGreedyDecoder CTCLoss
    CTCLossV2 Conv Conv2D Conv2DBackpropFilter Conv2DBackpropFilterV2 Conv2DBackpropInput
    Conv2DBackpropInputV2 Conv3D Conv3DBackpropFilterV2 Conv3DBackpropInputV2
    DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput
    Dilation2D Dilation2DBackpropFilter Dilation2DBackpropInput Elu EluGrad FractionalAvgPool
    FractionalAvgPoolGrad FractionalMaxPool FractionalMaxPoolGrad FusedBatchNorm
    FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 FusedBatchNormV2
    FusedBatchNormV3 GRUBlockCell GRUBlockCellGrad InTopK InTopKV2 L2Loss LRN LRNGrad
    LSTMBlockCell LSTMBlockCellGrad LeakyRelu LeakyReluGrad LogSoftmax MaxPool MaxPool3D
    MaxPool3DGrad MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad MaxPoolGradGradV2
    MaxPoolGradGradWithArgmax MaxPoolGradV2 MaxPoolGradWithArgmax MaxPoolV2 MaxPoolWithArgmax
    Relu Relu6 Relu6Grad ReluGrad Selu SeluGrad Softmax SoftmaxCrossEntropyWithLogits
"""

# Text and records that are already in memory.
_TEXT: Final = """
    AsString DecodeBase64 DecodeCSV DecodeCompressed DecodeJSONExample DecodePaddedRaw DecodeRaw
    EditDistance EncodeBase64 Fingerprint ParseExample ParseExampleV2 ParseSequenceExample
    ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample ParseTensor ReduceJoin
    RegexFullMatch RegexReplace SerializeTensor ShardedFilename StaticRegexFullMatch
    StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit
    StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong
    StringToNumber StringUpper Substr ToBool UnicodeDecode UnicodeDecodeWithOffsets
    UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""

# Images and sounds that are already in memory.
_MEDIA: Final = """
    AdjustContrastv2 AdjustHue AdjustSaturation AudioMicrofrontend AudioSpectrogram
    CombinedNonMaxSuppression CropAndResize CropAndResizeGradBoxes CropAndResizeGradImage
    DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodeJxl DecodePng DecodeWav
    DecodeWebP DrawBoundingBoxes DrawBoundingBoxesV2 EncodeJpeg EncodeJpegVariableQuality
    EncodePng EncodeWav ExtractGlimpse ExtractGlimpseV2 ExtractImagePatches ExtractJpegShape
    ExtractVolumePatches FusedPadConv2D FusedResizeAndPadConv2D GenerateBoundingBoxProposals
    HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 Mfcc NonMaxSuppression
    NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
    NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic ResizeBicubicGrad
    ResizeBilinear ResizeBilinearGrad ResizeNearestNeighbor ResizeNearestNeighborGrad
    ScaleAndTranslate ScaleAndTranslateGrad
"""

# Sparse and ragged tensors.
_SPARSE_AND_RAGGED: Final = """
    CSRSparseMatrixComponents CSRSparseMatrixToDense CSRSparseMatrixToSparseTensor
    DenseCountSparseOutput DenseToCSRSparseMatrix DenseToSparseSetOperation
    DeserializeManySparse DeserializeSparse RaggedBincount RaggedCountSparseOutput RaggedCross
    RaggedFillEmptyRows RaggedFillEmptyRowsGrad RaggedGather RaggedRange RaggedTensorFromVariant
    RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant
    RaggedTensorToVariantGradient SerializeManySparse SerializeSparse SparseAdd SparseAddGrad
    SparseBincount SparseConcat SparseCountSparseOutput SparseCross SparseCrossHashed
    SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul
    SparseFillEmptyRows SparseFillEmptyRowsGrad SparseMatMul SparseMatrixAdd SparseMatrixMatMul
    SparseMatrixMul SparseMatrixNNZ SparseMatrixOrderingAMD SparseMatrixSoftmax
    SparseMatrixSoftmaxGrad SparseMatrixSparseCholesky SparseMatrixSparseMatMul
    SparseMatrixTranspose SparseMatrixZeros SparseReduceMax SparseReduceMaxSparse
    SparseReduceSum SparseReduceSumSparse SparseReorder SparseReshape SparseSegmentMean
    SparseSegmentMeanGrad SparseSegmentMeanGradV2 SparseSegmentMeanWithNumSegments
    SparseSegmentSqrtN SparseSegmentSqrtNGrad SparseSegmentSqrtNGradV2
    SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumGrad
    SparseSegmentSumGradV2 SparseSegmentSumWithNumSegments SparseSlice SparseSliceGrad
    SparseSoftmax SparseSoftmaxCrossEntropyWithLogits SparseSparseMaximum SparseSparseMinimum
    SparseSplit SparseTensorDenseAdd SparseTensorDenseMatMul SparseTensorToCSRSparseMatrix
    SparseToDense SparseToSparseSetOperation
"""

# Lists of tensors.
_LISTS: Final = """
    EmptyTensorList TensorListConcat TensorListConcatLists TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
    TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch
    TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList
    TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
"""

# Random numbers.
_RANDOM: Final = """
    Multinomial NonDeterministicInts ParameterizedTruncatedNormal RandomCrop RandomGamma
    RandomGammaGrad RandomIndexShuffle RandomPoissonV2 RandomShuffle RandomStandardNormal
    RandomUniform RandomUniformInt RngReadAndSkip RngSkip SampleDistortedBoundingBox
    SampleDistortedBoundingBoxV2 SobolSample StatefulRandomBinomial StatefulStandardNormalV2
    StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt
    StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomBinomial
    StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform
    StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt
    StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessSampleDistortedBoundingBox
    StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2 StochasticCastToInt
    TruncatedNormal
"""

# Quantization.
_QUANTIZED: Final = """
    Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxArgsGradient FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxVarsPerChannel
    FakeQuantWithMinMaxVarsPerChannelGradient QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
    QuantizeAndDequantizeV4 QuantizeAndDequantizeV4Grad QuantizeDownAndShrinkRange QuantizeV2
    QuantizedAdd QuantizedAvgPool QuantizedBiasAdd QuantizedConcat QuantizedConv2D
    QuantizedMatMul QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedReshape
    QuantizedResizeBilinear RequantizationRange RequantizationRangePerChannel Requantize
    RequantizePerChannel UniformDequantize UniformQuantize UniformQuantizedAdd
    UniformQuantizedClipByValue UniformQuantizedConvolution UniformQuantizedConvolutionHybrid
    UniformQuantizedDot UniformQuantizedDotHybrid UniformRequantize
"""

# Stateful operations that models hold in functions which nobody calls, such as those that save.
_NEVER_EVALUATED: Final = """
    AnonymousIteratorV2 AnonymousIteratorV3 CloseSummaryWriter CollectiveGatherV2
    CollectiveReduceV2 CreateSummaryDbWriter CreateSummaryFileWriter DatasetToSingleElement
    DeleteIterator DumpTensor EagerPyFunc FixedLengthRecordDatasetV2 FlushSummaryWriter
    GeneratorDataset ImportEvent InitializeTableFromDataset InitializeTableFromTextFileV2
    IteratorGetNext IteratorV2 ListDataset LoadAndRemapMatrix MakeIterator MatchingFilesDataset
    MergeV2Checkpoints Print PrintV2 PyFunc RangeDataset Recv ReduceDataset RemoteCall Restore
    RestoreSlice RestoreV2 Save SaveSlices SaveV2 Send SummaryWriter TFRecordDataset
    TFRecordDatasetV2 TensorDataset TensorSliceDataset TextLineDataset Timestamp
    WriteAudioSummary WriteFile WriteGraphSummary WriteHistogramSummary WriteImageSummary
    WriteRawProtoSummary WriteScalarSummary WriteSummary XlaCallModule XlaLaunch
"""

ALLOWED_OPS: Final[frozenset[str]] = frozenset(
    name
    for group in (
        _CONTROL,
        _STATE,
        _MATH_AND_ARRAYS,
        _NETWORKS,
        _TEXT,
        _MEDIA,
        _SPARSE_AND_RAGGED,
        _LISTS,
        _RANDOM,
        _QUANTIZED,
    )
    for name in group.split()
)
"""Operations that need no grant."""

FILE_READERS: Final[Mapping[str, int]] = {
    "InitializeTableFromTextFileV2": 1,
    "ReadFile": 0,
}
"""Operations that need no grant when they read an asset of their own SavedModel, with the position
of the input that holds the file name."""

NEVER_EVALUATED: Final[frozenset[str]] = frozenset(_NEVER_EVALUATED.split())
"""Operations that do nothing in a function that is loaded and not called.

TensorFlow evaluates stateless operations on constants already when it imports a function, to infer
shapes: a `ReadFile` in a function that nobody calls is carried out by loading. Stateful ones never.
"""
