"""The list of operations that need no grant, against TensorFlow's own registry."""

from __future__ import annotations

import pytest

from orbax_model_lite.tf2obm.allowed_ops import ALLOWED_OPS, FILE_READERS, NEVER_EVALUATED

pytestmark = pytest.mark.frameworks

DANGEROUS = """
    ReadFile WriteFile MatchingFiles FileSystemSetConfiguration InitializeTableFromTextFileV2
    SaveV2 RestoreV2 MergeV2Checkpoints Save SaveSlices Restore RestoreSlice LoadAndRemapMatrix
    GenerateVocabRemapping ImmutableConst PyFunc PyFuncStateless EagerPyFunc PrintV2 Print Abort
    TextLineDataset TextLineDatasetV2 TFRecordDataset FixedLengthRecordDataset SqlDataset CSVDataset
    LoadDataset SaveDatasetV2 SnapshotDatasetV2 DatasetFromGraph DataServiceDatasetV4 CacheDataset
    ReduceDataset GeneratorDataset InitializeTableFromDataset WholeFileReaderV2 ReaderReadV2
    CreateSummaryFileWriter CreateSummaryDbWriter WriteSummary WriteRawProtoSummary ImportEvent
    DebugIdentity DebugIdentityV3 DebugNumericSummaryV2 DumpTensor CustomAggregator
    CalibrationStatisticsSaver Send Recv RemoteCall RpcServer RpcCall RpcClient CollectiveReduceV2
    CollectiveBcastRecvV2 NcclAllReduce DistributedSave XlaCallModule XlaLaunch XlaLaunchV2
    XlaCustomCall XlaCustomCallV2 XlaHostCompute XlaSendToHost XlaRecvFromHost SymbolicGradient
    TPUPartitionedCall ConfigureDistributedTPU DecodeProtoV2 EncodeProto GetSessionTensor
    GetSessionHandleV2 BatchFunction Batch InplaceUpdate QueueEnqueueV2 Stage Timestamp
    ConsumeMutexLock MutexLock RecordInput LMDBDataset IteratorGetNext
"""

# Stateful, and looked at one by one: state of the model's own, checks, control flow, random.
REVIEWED_STATE = """
    Assert CheckNumerics CheckNumericsV2 Case If While StatefulPartitionedCall DeviceIndex Empty
    GuaranteeConst VarHandleOp VarIsInitializedOp ReadVariableOp VariableShape ResourceGather
    ResourceGatherNd AssignVariableOp AssignAddVariableOp AssignSubVariableOp DisableCopyOnRead
    DestroyResourceOp HashTableV2 AnonymousHashTable MutableHashTableV2 AnonymousMutableHashTable
    MutableHashTableOfTensorsV2 AnonymousMutableHashTableOfTensors MutableDenseHashTableV2
    AnonymousMutableDenseHashTable InitializeTableV2 LookupTableFindV2 LookupTableSizeV2
    LookupTableExportV2 LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 TensorArrayV3
    TensorArrayGradV3 TensorArrayReadV3 TensorArrayWriteV3 TensorArrayGatherV3 TensorArrayScatterV3
    TensorArrayConcatV3 TensorArraySplitV3 TensorArraySizeV3 TensorArrayCloseV3 RandomUniform
    RandomUniformInt RandomStandardNormal TruncatedNormal ParameterizedTruncatedNormal RandomGamma
    RandomPoissonV2 RandomShuffle RandomCrop Multinomial SampleDistortedBoundingBox
    SampleDistortedBoundingBoxV2 StatefulUniform StatefulUniformInt StatefulUniformFullInt
    StatefulStandardNormalV2 StatefulTruncatedNormal StatefulRandomBinomial RngSkip RngReadAndSkip
    NonDeterministicInts StatelessRandomGetAlg
"""


@pytest.fixture(scope="module")
def registry():
    """All operations that TensorFlow registers, by name."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    listed = op_def_pb2.OpList.FromString(
        pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    )
    return {op.name: op for op in listed.op}


@pytest.mark.parametrize("op", DANGEROUS.split())
def test_a_dangerous_operation_is_not_allowed(op):
    assert op not in ALLOWED_OPS


def test_every_listed_operation_exists(registry):
    assert not (ALLOWED_OPS | NEVER_EVALUATED | FILE_READERS.keys()) - registry.keys()


def test_an_allowed_operation_with_state_was_looked_at(registry):
    assert {op for op in ALLOWED_OPS if registry[op].is_stateful} == set(REVIEWED_STATE.split())


def test_what_is_never_evaluated_is_stateful(registry):
    assert all(registry[op].is_stateful for op in NEVER_EVALUATED)


def test_no_allowed_operation_takes_references_of_tensorflow_1(registry):
    for op in ALLOWED_OPS:
        assert not any(a.is_ref for a in (*registry[op].input_arg, *registry[op].output_arg)), op


@pytest.mark.parametrize(
    "part", ["Dataset", "Iterator", "Reader", "Queue", "Summary", "PyFunc", "Xla", "TPU", "Debug"]
)
def test_no_allowed_operation_is_of_a_dangerous_family(part):
    assert not [op for op in ALLOWED_OPS if part in op]


def test_only_calls_that_are_followed_take_functions(registry):
    takes = {op for op in ALLOWED_OPS if any("func" in attr.type for attr in registry[op].attr)}
    assert takes == {
        "Case", "If", "MapDefun", "PartitionedCall", "StatefulPartitionedCall", "StatelessCase",
        "StatelessIf", "StatelessWhile", "While",
    }  # fmt: skip


def test_the_file_name_is_the_input_that_the_list_says(registry):
    for op, position in FILE_READERS.items():
        assert registry[op].input_arg[position].name == "filename"


def test_no_allowed_operation_has_a_file_name_as_attribute(registry):
    for op in ALLOWED_OPS:
        names = {attr.name for attr in registry[op].attr if attr.type in {"string", "list(string)"}}
        assert not {n for n in names if "file" in n or "path" in n or "descriptor" in n}, op
